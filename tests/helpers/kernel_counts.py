"""What the kernels of the CPU backend cost, in counts that every machine gets the same: instructions and work.

``python tests/helpers/kernel_counts.py`` measures and rewrites ``tests/backends/kernel_counts.json``. Do that when a
change makes a count better, or worse for a reason; the diff then shows what it cost.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parents[1] / "backends" / "kernel_counts.json"

#: Processors that machine code is made for, whatever the machine: name, features, words of a vector.
TARGETS = {
    "AVX-512": ("skylake-avx512", "+avx,+avx2,+bmi,+bmi2,+popcnt,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl", 8),
    "AVX2": ("haswell", "+avx,+avx2,+bmi,+bmi2,+popcnt,+fma", 4),
}
_PLANES = 9  # 256 bits


def machine_code(target: str) -> dict[str, int]:
    """Instructions of the loop that adds 32 rows, compiled for a target in a process of its own."""
    name, features, words = TARGETS[target]
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    environment.pop("NUMBA_CACHE_DIR", None)
    call = [sys.executable, __file__, "--assembly", str(words)]
    assembly = subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout
    return counted(assembly)


def counted(assembly: str) -> dict[str, int]:
    """Of the longest stretch without a label: logic on vectors, loads of rows, and vectors kept on the stack."""
    stretches = re.split(r"^\.L\w+:", assembly, flags=re.MULTILINE)
    loop = max(stretches, key=lambda stretch: len(re.findall(r"movzwl", stretch)))
    lines = [line.strip() for line in loop.splitlines() if re.search(r"%[xyz]mm", line)]
    return {
        "rows": len(re.findall(r"movzwl", loop)),
        "vector logic": sum(bool(re.match(r"v(pternlog|pand|por|pxor|and|or|xor)", line)) for line in lines),
        "vector moves between registers": sum(
            bool(re.match(r"vmov\w+\s+%[xyz]mm\d+, %[xyz]mm\d+$", line)) for line in lines
        ),
        "vectors kept on the stack": sum("(%rsp)" in line for line in lines),
    }


def assembly_of_counting(words: int) -> str:
    """Machine code of the counting kernel for 256 bits, for the processor that Numba compiles for."""
    from numba import njit, types

    from hashneg.backends.cpu.counting import count_rows

    @njit(nogil=True, _nrt=False)
    def count(planes, words, offset, block, start, chosen, n_rows, levels, equal, valid, flip, out):
        return count_rows(planes, words, offset, block, start, chosen, n_rows, levels, equal, valid, flip, out)

    address, number = types.intp, types.int64
    count.compile(
        (
            types.UniTuple(number, _PLANES), types.UniTuple(number, words), types.uint16, address, address, address,
            number, address, address, address, number, address,
        )
    )  # fmt: skip
    return "\n".join(count.inspect_asm().values())


def work() -> dict[str, dict[str, int]]:
    """What searches and a rerank of fixed rows do; in blocks of 256 rows, so that every machine does the same."""
    rng = np.random.default_rng(0)
    random = rng.integers(0, 256, (20_000, 32), dtype=np.uint8)
    centers = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    noise = np.packbits(rng.random((20_000, 256)) < 0.12, axis=1)
    similar = centers[rng.integers(0, 40, 20_000)] ^ noise
    return {
        "search of random codes": _searched(random, "given", k=10),
        "search of random codes, k = 100": _searched(random, "given", k=100),
        "search of similar codes": _searched(similar, "given", k=10),
        "search of similar codes, clustered": _searched(similar, "clustered", k=10),
        "search of similar codes, probe = 0.1": _searched(similar, "clustered", k=10, probe=0.1),
        "rerank of similar rows": _reranked(rng),
    }


def _searched(codes: np.ndarray, order: str, k: int, probe: float = 1.0) -> dict[str, int]:
    """256 rows search all rows."""
    from hashneg.backends.cpu import clustered, layout, search
    from hashneg.backends.cpu.distances import distances
    from hashneg.backends.cpu.tile import Tile
    from hashneg.backends.request import Database, Exclusions, Search
    from hashneg.hamming.clustering import cluster
    from hashneg.progress import Meter

    tiles: list[Recorded] = []

    class Recorded(Tile):
        blocks = 0

        def __init__(self, *args):
            super().__init__(*args)
            tiles.append(self)

        def visit(self, blocks, *args, **options):
            self.blocks += len(blocks)
            super().visit(blocks, *args, **options)

    database = Database(codes, 8 * codes.shape[1])
    if order == "clustered":
        database.clustering = cluster(codes, database.n_bits, distances)
    database.layout = layout.build(database, words=4)
    request = Search(database.n_bits, database.n_bits, Exclusions(), probe=probe)
    kept = search.Tile, clustered.Tile
    search.Tile = clustered.Tile = Recorded
    try:
        search.topk(database, codes[:256], k, request, 1, Meter(False, 256, ""))
    finally:
        search.Tile, clustered.Tile = kept
    nodes, rows, survivors = (int(count) for count in sum(tile.work for tile in tiles))
    return {
        "blocks visited by tiles": sum(tile.blocks for tile in tiles),
        "nodes run": nodes,
        "rows added": rows,
        "visits with survivors": survivors,
        "rows accepted": int(sum(tile.accepted.sum() for tile in tiles)),
    }


def _reranked(rng: np.random.Generator) -> dict[str, int]:
    """1,000 anchors, each with 60 candidates near it."""
    from hashneg.backends.cpu import pairs

    anchors = rng.standard_normal((30, 784), dtype=np.float32)[np.arange(1000) % 30]
    anchors += 0.3 * rng.standard_normal(anchors.shape, dtype=np.float32)
    which = (np.arange(1000) % 30)[:, None] * 200 + rng.integers(0, 200, (1000, 60))
    order = pairs.similar_together(anchors)
    step = pairs._TILE_BYTES // anchors[0].nbytes
    tiles = [which[order[start : start + step]] for start in range(0, 1000, step)]
    return {"rows gathered": int(sum(len(np.unique(tile)) for tile in tiles)), "candidates": which.size}


def measured() -> dict[str, object]:
    """All counts."""
    import numba

    return {
        "numba": numba.__version__,
        "machine code": {target: machine_code(target) for target in TARGETS},
        "work": work(),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--assembly"]:
        print(assembly_of_counting(int(sys.argv[2])))
    else:
        FILE.write_text(json.dumps(measured(), indent=2) + "\n")
