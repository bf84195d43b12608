"""The hardest positive of every row: of those it may have, the farthest by Hamming distance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hashneg.backends.request import NO_INDEX
from hashneg.hamming import HammingIndex

_PAIRS = 1 << 18  # compared at a time


def of_same_label(ids: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (place in ids, row of the same label), some places at a time; the row itself is among them."""
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels, labels[ids], "left", sorter=order)
    counts = np.searchsorted(labels, labels[ids], "right", sorter=order) - first
    ends = np.cumsum(counts)
    start = 0
    while start < len(ids):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, "right")))
        some = counts[start:stop]
        within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
        yield np.repeat(np.arange(start, stop), some), order[np.repeat(first[start:stop], some) + within]
        start = stop


def listed(positives: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (place, positive) of an (m, p) array padded with -1, some places at a time."""
    step = max(1, _PAIRS // max(1, positives.shape[1]))
    for start in range(0, len(positives), step):
        place, column = np.nonzero(positives[start : start + step] != NO_INDEX)
        yield place + start, positives[place + start, column]


def hardest(
    index: HammingIndex, ids: np.ndarray, known: np.ndarray, pairs: Iterator[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Of the pairs of every place the row with the largest (distance, -row), int64 (m,); -1 where there is none.

    A place is never paired with its own row, nor with rows that are not `known`, bool (n,).
    """
    found = np.full(len(ids), NO_INDEX)
    for place, row in pairs:
        kept = (row != ids[place]) & known[row] & known[ids[place]]
        place, row = place[kept], row[kept]
        differing = index.codes(ids[place]).host ^ index.codes(row).host
        distance = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
        order = np.lexsort((row, -distance, place))
        places, best = np.unique(place[order], return_index=True)
        found[places] = row[order][best]
    return found
