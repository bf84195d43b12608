"""Rotate, subtract the thresholds, take signs, in tiles of a fixed number of rows.

A matrix product of BLAS may round a row differently when the number of rows differs. Every product here has
the same shape, so that a row's bits do not depend on the other rows of a call.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.request import Projection

_TILE_ROWS = 256


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
    z = np.empty((len(rows), len(projection.thresholds)), rows.dtype)
    for start, tile in _tiles(rows, projection):
        z[start : start + len(tile)] = tile
    return z


def encode(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    codes = np.empty((len(rows), -(-len(projection.thresholds) // 8)), np.uint8)
    for start, tile in _tiles(rows, projection):
        codes[start : start + len(tile)] = np.packbits(tile >= 0, axis=1, bitorder="little")
    return codes


def _tiles(rows: np.ndarray, projection: Projection):
    """Yield (start, z) for tiles of rows."""
    thresholds = projection.thresholds.astype(rows.dtype)
    rotate = _rotation(projection, rows.dtype)
    padded = np.zeros((_TILE_ROWS, rows.shape[1]), rows.dtype)
    for start in range(0, len(rows), _TILE_ROWS):
        tile = rows[start : start + _TILE_ROWS]
        if len(tile) < _TILE_ROWS:
            padded[: len(tile)] = tile
            yield start, (rotate(padded) - thresholds)[: len(tile)]
        else:
            yield start, rotate(tile) - thresholds


def _rotation(projection: Projection, dtype: np.dtype):
    """The function that rotates a tile."""
    if projection.kind == "identity":
        return lambda tile: tile
    if projection.kind == "dense":
        assert projection.matrix is not None
        transposed = np.ascontiguousarray(projection.matrix.T, dtype=dtype)
        return lambda tile: tile @ transposed
    assert projection.signs is not None
    signs = projection.signs
    scaled = (signs / np.sqrt(signs.shape[2])).astype(dtype)  # the orthonormal transform divides by sqrt(D)
    n_bits = len(projection.thresholds)

    def hadamard(tile: np.ndarray) -> np.ndarray:
        z = np.empty((len(tile), n_bits), dtype)
        _hadamard(tile, scaled, z)
        return z

    return hadamard


@njit(nogil=True, cache=True)
def _hadamard(rows, scaled, z):
    """z = the first columns of (H S3 H S2 H S1) x, block after block, each row by itself."""
    n_blocks, rounds, width = scaled.shape
    work = np.empty(width, rows.dtype)
    for i in range(rows.shape[0]):
        for block in range(n_blocks):
            work[:] = 0
            work[: rows.shape[1]] = rows[i]
            for r in range(rounds):
                work *= scaled[block, r]
                half = 1
                while half < width:
                    for start in range(0, width, 2 * half):
                        for j in range(start, start + half):
                            a, b = work[j], work[j + half]
                            work[j], work[j + half] = a + b, a - b
                    half *= 2
            first = block * width
            last = min(first + width, z.shape[1])
            z[i, first:last] = work[: last - first]
