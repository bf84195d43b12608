"""The embeddings of an epoch, kept in float16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hashneg.arrays import Embeddings

_BLOCK_ROWS = 4096


class KeptEmbeddings:
    """The newest embedding of every row, and the version of the table it came with.

    Attributes
    ----------
    values : float16 (n, d), or None before the first update
    versions : int32 (n,), 0 where a row has no embedding
    """

    def __init__(self, n: int) -> None:
        self.values: np.ndarray | None = None
        self.versions = np.zeros(n, np.int32)

    def update(self, ids: np.ndarray, rows: Embeddings, version: np.int32) -> None:
        """Keep `rows` for `ids`; ValueError, and nothing is changed, if they do not fit."""
        dim = rows.shape[1]
        if self.values is not None and self.values.shape[1] != dim:
            raise ValueError(f"embeddings has {dim} dimensions, but the table keeps {self.values.shape[1]}")
        half = halved(rows)
        if self.values is None:
            self.values = np.zeros((len(self.versions), dim), np.float16)
        self.values[ids] = half  # in order: of repeated ids the last wins
        self.versions[ids] = version

    @property
    def rows(self) -> np.ndarray:
        """The rows that have an embedding, int64."""
        return np.flatnonzero(self.versions)

    def blocks(self) -> Iterator[np.ndarray]:
        """The embeddings of `rows`, float16, block by block."""
        rows = self.rows
        for start in range(0, len(rows), _BLOCK_ROWS):
            assert self.values is not None
            yield self.values[rows[start : start + _BLOCK_ROWS]]


def halved(rows: Embeddings) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = rows.block(0, len(rows)).astype(np.float16)
    fits = np.isfinite(half).all(axis=1)
    if not fits.all():
        raise ValueError(
            f"embeddings[{int(np.argmin(fits))}] holds a number beyond 65504, the largest of float16, in which "
            "mode='epoch' keeps embeddings; normalise them, or use mode='live'"
        )
    return half
