"""Rotate, subtract the thresholds, take signs; one row at a time in float64."""

from __future__ import annotations

import numpy as np

from hashneg.backends.request import Projection


def add_columns(total: np.ndarray, rows: np.ndarray) -> None:
    """Add `rows` to the float64 column sums `total` in place, row after row.

    The order of the additions is that of the rows, so chunking makes no difference.
    """
    for row in rows:
        total += row


def project(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """z = R x - thresholds of every row, (m, n_bits) in the dtype of `rows`."""
    z = np.empty((len(rows), len(projection.thresholds)), rows.dtype)
    for i, row in enumerate(rows.astype(np.float64)):
        z[i] = _rotate(row, projection) - projection.thresholds
    return z


def encode(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    return np.packbits(project(rows, projection) >= 0, axis=1, bitorder="little")


def _rotate(row: np.ndarray, projection: Projection) -> np.ndarray:
    if projection.kind == "identity":
        return row
    if projection.kind == "dense":
        assert projection.matrix is not None
        return projection.matrix @ row
    assert projection.signs is not None
    n_blocks, rounds, width = projection.signs.shape
    z = np.zeros((n_blocks, width))
    z[:, : len(row)] = row
    for r in range(rounds):
        z = _walsh_hadamard(z * projection.signs[:, r])
    return z.ravel()[: len(projection.thresholds)]


def _walsh_hadamard(z: np.ndarray) -> np.ndarray:
    """The orthonormal Walsh-Hadamard transform of each row; the width is a power of two."""
    blocks, width = z.shape
    half = 1
    while half < width:
        pairs = z.reshape(blocks, -1, 2, half)
        z = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    return z.reshape(blocks, width) / np.sqrt(width)
