"""Rotate, subtract the thresholds, take signs; every row by itself, in float64."""

from __future__ import annotations

import numpy as np

from hashneg.backends.request import Projection

_TILE_ROWS = 256


def add_columns(total: np.ndarray, rows: np.ndarray) -> None:
    """Add `rows` to the float64 column sums `total` in place, row after row.

    The order of the additions is that of the rows, so chunking makes no difference.
    """
    for row in rows:
        total += row


def project(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """z = R x - thresholds of every row, (m, n_bits) in the dtype of `rows`."""
    z = np.empty((len(rows), len(projection.thresholds)), rows.dtype)
    for start in range(0, len(rows), _TILE_ROWS):
        tile = rows[start : start + _TILE_ROWS].astype(np.float64)
        z[start : start + len(tile)] = _rotate(tile, projection) - projection.thresholds
    return z


def encode(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    return np.packbits(project(rows, projection) >= 0, axis=1, bitorder="little")


def _rotate(rows: np.ndarray, projection: Projection) -> np.ndarray:
    if projection.kind == "identity":
        return rows
    if projection.kind == "dense":
        # one product for each row: a product of matrices may round a row differently when the others differ
        assert projection.matrix is not None
        return np.stack([projection.matrix @ row for row in rows])
    assert projection.signs is not None
    n_blocks, rounds, width = projection.signs.shape
    z = np.zeros((len(rows), n_blocks, width))
    z[:, :, : rows.shape[1]] = rows[:, None]
    for r in range(rounds):
        z = _walsh_hadamard(z * projection.signs[:, r])
    return z.reshape(len(rows), -1)[:, : len(projection.thresholds)]


def _walsh_hadamard(z: np.ndarray) -> np.ndarray:
    """The orthonormal Walsh-Hadamard transform along the last axis, whose length is a power of two."""
    width = z.shape[-1]
    half = 1
    while half < width:
        pairs = z.reshape(-1, width // (2 * half), 2, half)
        z = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(z.shape)
        half *= 2
    return z / np.sqrt(width)
