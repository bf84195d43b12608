"""Rotate, subtract the thresholds, take signs and pack, one tile of rows at a time.

Every number of z is summed in one fixed order, so a row's bits do not depend on the other rows of a call.
A dense rotation is a matrix product whose tile of sums stays in registers and leaves them as bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.hadamard import hadamard
from hashneg.backends.cpu.matrix import ROWS_AT_A_TIME, multiply, panels_of
from hashneg.backends.request import Projection
from hashneg.threads import run_tiles, thread_count


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
    thresholds = projection.thresholds.astype(rows.dtype)
    if projection.kind == "identity":
        z = rows - thresholds
        return np.packbits(z >= 0, axis=1, bitorder="little") if dtype == np.uint8 else z
    out = np.empty((len(rows), -(-n_bits // 8) if dtype == np.uint8 else n_bits), dtype)
    factors = _factors(projection, rows.dtype)

    def work(start: int) -> None:
        part = slice(start, start + ROWS_AT_A_TIME)
        if projection.kind == "dense":
            multiply(rows[part], factors[0], factors[1], out[part])
        else:
            hadamard(rows[part], factors[0], thresholds, out[part])

    run_tiles(work, range(0, len(rows), ROWS_AT_A_TIME), thread_count(None))
    return out


def _factors(projection: Projection, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """The rotation as the kernels read it, made once for each dtype."""
    if (cached := projection.cache.get(dtype)) is not None:
        return cached
    if projection.kind == "dense":
        assert projection.matrix is not None
        factors: tuple[np.ndarray, ...] = panels_of(projection.matrix.astype(dtype), projection.thresholds)
    else:
        assert projection.signs is not None
        width = projection.signs.shape[2]
        factors = ((projection.signs / np.sqrt(width)).astype(dtype),)  # the orthonormal transform
    projection.cache[dtype] = factors
    return factors
