"""A sample of rows that does not depend on how the rows arrive in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import cuda_arrays
from hashneg.randomness import mix64

_LARGEST_KEY = np.uint64(2**64 - 1)


class RowSample:
    """The `size` rows whose number has the smallest hash.

    The choice depends on (seed, row number) alone: any chunking of the same rows gives the same sample.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.seen = 0
        self._limit = _LARGEST_KEY  # rows with larger keys cannot be in the sample
        self._held = 0
        self._chunks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # keys, row numbers, rows

    def add(self, rows: Any) -> None:
        """Take the next rows into account; of a device, those that may be in the sample come to the host."""
        numbers = np.arange(self.seen, self.seen + len(rows))
        keys = mix64(numbers, self.seed)
        self.seen += len(rows)
        new = np.flatnonzero(keys <= self._limit)
        if len(new):
            self._chunks.append((keys[new], numbers[new], cuda_arrays.rows_on_host(rows, new)))
            self._held += len(new)
        if self._held > 1.25 * self.size:  # seldom, so that most calls copy nothing but candidates
            self._shrink()

    @property
    def rows(self) -> np.ndarray:
        """The sampled rows, by row number."""
        self._shrink()
        return self._chunks[0][2]

    def copy(self) -> RowSample:
        other = object.__new__(RowSample)
        other.__dict__.update(self.__dict__)
        other._chunks = self._chunks.copy()  # the arrays in it are never written to
        return other

    def _shrink(self) -> None:
        keys = np.concatenate([chunk[0] for chunk in self._chunks])
        numbers = np.concatenate([chunk[1] for chunk in self._chunks])
        kept = np.zeros(len(keys), bool)
        kept[np.lexsort((numbers, keys))[: self.size]] = True
        parts = np.split(kept, np.cumsum([len(chunk[0]) for chunk in self._chunks])[:-1])
        rows = np.concatenate([chunk[2][part] for chunk, part in zip(self._chunks, parts, strict=True)])
        self._chunks = [(keys[kept], numbers[kept], rows)]  # still in row order, as the chunks came
        self._held = len(rows)
        if len(rows) == self.size:
            self._limit = keys[kept].max()
