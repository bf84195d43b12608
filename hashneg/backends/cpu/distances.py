"""All distances between two sets of codes."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.rows import distance_at
from hashneg.threads import run_tiles

_TILE_PAIRS = 1 << 20


def distances(a: np.ndarray, b: np.ndarray, metric: str = "hamming", threads: int = 1) -> np.ndarray:
    """int32 (na, nb); "hamming" is popcount(a XOR b), "projected" popcount(a AND NOT b)."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    out = np.empty((len(a), len(b)), np.int32)
    step = max(1, _TILE_PAIRS // max(1, len(b)))

    def work(start: int) -> None:
        part = slice(start, start + step)
        _fill(a[part].ctypes.data, b.ctypes.data, a.shape[1], metric == "projected", out[part])

    run_tiles(work, range(0, len(a), step), threads)
    return out


@njit(nogil=True, cache=True)
def _fill(a_at, b_at, width, projected, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = distance_at(a_at + i * width, b_at + j * width, width, projected)
