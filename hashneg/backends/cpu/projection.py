"""Rotate, subtract the thresholds, take signs and pack, one tile of rows at a time.

Every number of z is summed in one fixed order, so a row's bits do not depend on the other rows of a call.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.hadamard import hadamard, scales_of
from hashneg.backends.cpu.matrix import ROWS_AT_A_TIME, multiply, panels_of
from hashneg.backends.cpu.signs import write_rows
from hashneg.backends.request import Projection
from hashneg.threads import run_tiles, thread_count

_FEWEST_ROWS = 512  # of a tile where a row takes less than a microsecond


@njit(nogil=True, cache=True)
def add_columns(total, rows):
    """Add `rows` to the float64 column sums `total` in place, row after row.

    The order of the additions is that of the rows, so chunking makes no difference.
    """
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            total[j] += rows[i, j]


def project(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """z = R x - thresholds of every row, (m, n_bits) in the dtype of `rows`."""
    return _apply(rows, projection, rows.dtype)


def encode(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    return _apply(rows, projection, np.dtype(np.uint8))


def _apply(rows: np.ndarray, projection: Projection, dtype: np.dtype) -> np.ndarray:
    rows = np.ascontiguousarray(rows)  # the kernels read by address
    n_bits = len(projection.thresholds)
    out = np.empty((len(rows), -(-n_bits // 8) if dtype == np.uint8 else n_bits), dtype)
    factors, thresholds = _factors(projection, rows.dtype)
    step = ROWS_AT_A_TIME if projection.kind == "dense" else _FEWEST_ROWS

    def work(start: int) -> None:
        part = slice(start, start + step)
        if projection.kind == "dense":
            multiply(rows[part], factors, thresholds, out[part])
        elif projection.kind == "hadamard":
            assert projection.signs is not None
            hadamard(rows[part], factors, projection.signs.shape[2], thresholds, out[part])
        else:
            write_rows(rows[part], thresholds, out[part])

    run_tiles(work, range(0, len(rows), step), thread_count(None))
    return out


def _factors(projection: Projection, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The rotation and the thresholds as the kernels read them, made once for each dtype."""
    if (cached := projection.cache.get(dtype)) is not None:
        return cached
    factors, thresholds = np.empty(0, dtype), projection.thresholds.astype(dtype)
    if projection.kind == "dense":
        assert projection.matrix is not None
        factors, thresholds = panels_of(projection.matrix.astype(dtype), thresholds)
    elif projection.kind == "hadamard":
        assert projection.signs is not None
        factors = scales_of(projection.signs, dtype)
    projection.cache[dtype] = factors, thresholds
    return factors, thresholds
