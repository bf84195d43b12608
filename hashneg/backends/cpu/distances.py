"""All distances between two sets of codes."""

from __future__ import annotations

import numpy as np

from hashneg.backends.cpu.rows import distance_at, tuple_if, words_of
from hashneg.backends.cpu.vectors import kernel
from hashneg.threads import run_tiles

_TILE_PAIRS = 1 << 20


def distances(a: np.ndarray, b: np.ndarray, metric: str = "hamming", threads: int = 1) -> np.ndarray:
    """int32 (na, nb); "hamming" is popcount(a XOR b), "projected" popcount(a AND NOT b)."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    out = np.empty((len(a), len(b)), np.int32)
    words, projected = words_of(a.shape[1]), tuple_if(metric == "projected")
    step = max(1, _TILE_PAIRS // max(1, len(b)))

    def work(start: int) -> None:
        part = slice(start, start + step)
        _fill(a[part].ctypes.data, b.ctypes.data, words, a.shape[1], projected, out[part])

    run_tiles(work, range(0, len(a), step), threads)
    return out


@kernel
def _fill(a_at, b_at, words, width, projected, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = distance_at(a_at + i * width, b_at + j * width, words, width, projected)
