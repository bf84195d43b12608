"""Run searches with kernels compiled under AddressSanitizer and UndefinedBehaviorSanitizer.

Started by test_sanitizers.py in a process of its own, into which the sanitizers' libraries are loaded first:
``python sanitized.py CACHE KIND [FILE OLD NEW]``. With the last three, text of a kernel file is replaced, to plant a
fault.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import stand_in  # noqa: E402

FLAGS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize=null,object-size,pointer-overflow,vptr",  # slow to compile, and AddressSanitizer sees more
    "-fno-sanitize-recover=all",
]
KINDS = {"tensor": ("90", 232448), "sliced": ("75", 65536)}


def main(cache: str, kind: str, file: str = "", old: str = "", new: str = "") -> None:
    stand_in.CACHE, stand_in.FLAGS = Path(cache), FLAGS
    stand_in.Device.compute_capability, stand_in.Device.attributes["MaxSharedMemoryPerBlockOptin"] = KINDS[kind]
    sys.modules["cupy"] = stand_in
    names = ("device", "scanner", "search")
    gpu = SimpleNamespace(cp=stand_in, **{n: importlib.import_module(f"hashneg.backends.cupy.{n}") for n in names})
    if file:
        plain = gpu.device.source
        assert old in plain(file)
        gpu.device.source = lambda name: plain(name).replace(old, new) if name == file else plain(name)

    import searches
    from helpers.search_problems import brute_force_topk
    from test_emulated_search import problem_of

    gpu.scanner._SLACK = 1
    for names, k in ((("labels", "exclude"), 30), (("query_ids", "allow packed each"), 3)):
        problem = problem_of("farthest first", 3, 1500, 256, *names)
        found = searches.topk(gpu, problem, k, searches.request(problem))
        searches.assert_topk(found, brute_force_topk(problem, k))
    problem = problem_of("clustered", 3, 700, 250, "allow strided")
    searches.range_search(gpu, problem, searches.request(problem, 60))
    print("sound")


if __name__ == "__main__":
    main(*sys.argv[1:])
