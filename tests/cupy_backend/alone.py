"""Run searches in a process of their own, with kernels compiled under sanitizers or with a fault planted.

``python alone.py CACHE sanitized|plain tensor|sliced [FILE OLD NEW]``, started by test_faults.py. With FILE, text of a
kernel file is replaced; without, and under HASHNEG_CI=1, a clustered database is searched, too. Ends with an error, or
a crash, where the results are not those of brute force; "sound" is the last word otherwise. Sanitizers need their
libraries loaded first, by LD_PRELOAD.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import stand_in  # noqa: E402

SANITIZED = [
    "-O0",
    "-fsanitize=address,undefined",
    "-fno-sanitize=null,object-size,pointer-overflow,vptr",  # slow to compile, and AddressSanitizer sees more
    "-fno-sanitize-recover=all",
]
DEVICES = {"tensor": ("90", 232448), "sliced": ("75", 65536)}


def main(cache: str, how: str, device: str, file: str = "", old: str = "", new: str = "") -> None:
    stand_in.CACHE, stand_in.FLAGS = Path(cache), SANITIZED if how == "sanitized" else []
    stand_in.Device.compute_capability, stand_in.Device.attributes["MaxSharedMemoryPerBlockOptin"] = DEVICES[device]
    sys.modules["cupy"] = stand_in
    names = ("device", "scanner", "search")
    gpu = SimpleNamespace(cp=stand_in, **{n: importlib.import_module(f"hashneg.backends.cupy.{n}") for n in names})
    if file:
        plain = gpu.device.source
        assert old in plain(file)
        gpu.device.source = lambda name: plain(name).replace(old, new) if name == file else plain(name)

    import searches
    from helpers.search_problems import brute_force_topk, neighbours
    from test_emulated_search import problem_of

    gpu.scanner._SLACK = 1
    for stand_in.RawKernel.seed in (0, 1, 2):
        for layout, names, k in (("farthest first", ("labels", "exclude"), 30), ("clustered", ("query_ids",), 50)):
            problem = problem_of(layout, 17, 700, 256, *names)
            found = searches.topk(gpu, problem, k, searches.request(problem))
            searches.assert_topk(found, brute_force_topk(problem, k))
        problem = problem_of("clustered", 3, 400, 250, "allow strided")
        found = searches.range_search(gpu, problem, searches.request(problem, 60))
        assert found[1].tolist() == [row for pairs in neighbours(problem, 60) for _, row in pairs]
    if not file and os.environ.get("HASHNEG_CI") == "1":
        search_clustered(gpu, problem_of("clustered", 17, 400, 256, "query_ids", "allow few"))
    print("sound")


def search_clustered(gpu: SimpleNamespace, problem: Any) -> None:
    import pytest
    from test_emulated_clusters import clustered, compare

    with pytest.MonkeyPatch.context() as patch:
        base = clustered(problem, 64, patch)
    for probe in (0.2, 1.0):
        compare(gpu, base, problem, 20, probe=probe)


if __name__ == "__main__":
    main(*sys.argv[1:])
