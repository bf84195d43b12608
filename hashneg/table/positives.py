"""Pairs of rows and their positives, and which positive of a row is the hardest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hashneg.backends.request import NO_INDEX
from hashneg.hamming import HammingIndex

Pairs = Iterator[tuple[np.ndarray, np.ndarray]]  # (places, rows), all pairs of a place at once
_MOST_PAIRS = 1 << 18  # at a time


class SameLabel:
    """Which rows share a label, for int64 labels (n,)."""

    def __init__(self, labels: np.ndarray) -> None:
        _, groups, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._order = np.argsort(groups, kind="stable")
        self._counts = counts[groups]
        self._first = (np.cumsum(counts) - counts)[groups]

    def pairs(self, ids: np.ndarray) -> Pairs:
        """Pairs (place in ids, row of the same label), the row itself among them."""
        first, counts = self._first[ids], self._counts[ids]
        ends = np.cumsum(counts)
        start = 0
        while start < len(ids):
            done = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _MOST_PAIRS, "right")))
            some = counts[start:stop]
            within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
            yield np.repeat(np.arange(start, stop), some), self._order[np.repeat(first[start:stop], some) + within]
            start = stop


def listed(positives: np.ndarray) -> Pairs:
    """Pairs (place, positive) of an (m, p) array padded with -1."""
    step = max(1, _MOST_PAIRS // max(1, positives.shape[1]))
    for start in range(0, len(positives), step):
        place, column = np.nonzero(positives[start : start + step] != NO_INDEX)
        yield place + start, positives[place + start, column]


def choose(found: np.ndarray, place: np.ndarray, row: np.ndarray, *keys: np.ndarray) -> None:
    """Write to found[p] the row whose keys come first, the last key counting most, of those paired with p."""
    order = np.lexsort((*keys, place))
    places, best = np.unique(place[order], return_index=True)
    found[places] = row[order][best]


def farthest(index: HammingIndex, ids: np.ndarray, known: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Of the pairs of every place the row with the largest (distance, -row), int64 (m,); -1 where there is none.

    A place is never paired with its own row, nor with rows that are not `known`, bool (n,).
    """
    found = np.full(len(ids), NO_INDEX)
    for place, row in pairs:
        kept = (row != ids[place]) & known[row] & known[ids[place]]
        place, row = place[kept], row[kept]
        differing = index.codes(ids[place]).host ^ index.codes(row).host
        choose(found, place, row, row, -np.bitwise_count(differing).sum(axis=1, dtype=np.int64))
    return found
