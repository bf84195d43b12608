"""A sample of rows that does not depend on how the rows arrive in chunks."""

from __future__ import annotations

import numpy as np

from hashneg.randomness import mix64


class RowSample:
    """The `size` rows whose number has the smallest hash.

    The choice depends on (seed, row number) alone: any chunking of the same rows gives the same sample.
    """

    def __init__(self, size: int, dim: int, seed: int, dtype: np.dtype) -> None:
        self.size = size
        self.seed = seed
        self.seen = 0
        self._keys = np.empty(0, np.uint64)
        self._numbers = np.empty(0, np.int64)
        self._rows = np.empty((0, dim), dtype)

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows into account."""
        numbers = np.arange(self.seen, self.seen + len(rows))
        keys = mix64(numbers, self.seed)
        self.seen += len(rows)
        worst = self._keys.max() if len(self._keys) == self.size else np.uint64(2**64 - 1)
        candidates = np.flatnonzero(keys <= worst)
        keys = np.concatenate([self._keys, keys[candidates]])
        numbers = np.concatenate([self._numbers, numbers[candidates]])
        pool = np.concatenate([self._rows, rows[candidates].astype(self._rows.dtype)])
        keep = np.lexsort((numbers, keys))[: self.size]
        keep = keep[np.argsort(numbers[keep])]
        self._keys, self._numbers, self._rows = keys[keep], numbers[keep], pool[keep]

    @property
    def rows(self) -> np.ndarray:
        """The sampled rows, by row number."""
        return self._rows

    def copy(self) -> RowSample:
        other = object.__new__(RowSample)
        other.__dict__.update(self.__dict__)  # arrays are replaced by add(), never written to
        return other
