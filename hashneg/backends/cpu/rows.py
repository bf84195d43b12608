"""Codes row by row, with the popcount instruction: the way for a few queries, which repay no layout."""

from __future__ import annotations

import numpy as np

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.selection import HELD, LIMIT, Masks
from hashneg.backends.cpu.vectors import inlined_kernel, kernel, load8, load64, popcount
from hashneg.backends.request import Database, Search

_MOST_UNROLLED = 256  # bytes of a code whose loop is unrolled
_ROWS_AT_ONCE = 2048  # they stay in the cache for all queries


def words_of(width: int) -> tuple[int, ...]:
    """A tuple whose length tells the compiler how many whole words a code of `width` bytes has; empty for many."""
    return (0,) * (width // 8) if width <= _MOST_UNROLLED else ()


def tuple_if(condition: bool) -> tuple[int, ...]:
    """A tuple whose length tells the compiler a condition."""
    return (0,) * condition


@inlined_kernel
def distance_at(a, b, words, width, projected):
    """Distance of two codes of `width` bytes at two addresses.

    `words` and `projected` are `words_of(width)` and `tuple_if(metric == "projected")`.
    """
    total = 0
    n_words = len(words) if len(words) else width // 8
    for j in range(n_words):
        total += _differing(load64(a + 8 * j), load64(b + 8 * j), projected)
    left = width - 8 * n_words
    if left and n_words:  # the last eight bytes, less what was counted
        last, counted = width - 8, np.uint64(64 - 8 * left)
        total += _differing(load64(a + last) >> counted, load64(b + last) >> counted, projected)
    elif left:
        for j in range(width):
            total += _differing(load8(a + j), load8(b + j), projected)
    return total


@inlined_kernel
def _differing(a, b, projected):
    return popcount(a & ~b) if len(projected) else popcount(a ^ b)


def select_rows(
    database: Database,
    share: slice,
    queries: np.ndarray,
    search: Search,
    k: int,
    room: int,
    out_distances: np.ndarray,
    out_rows: np.ndarray,
) -> None:
    """Write the k best rows of a share of the database by (distance, row), padded."""
    n, codes, queries = len(queries), database.codes, np.ascontiguousarray(queries)
    masks = Masks(search.exclusions)
    alive = np.empty(0, bool) if database.alive is None else database.alive
    state, histograms = np.empty((n, selection.STATE), np.int64), np.empty((n, search.n_bits + 1), np.int32)
    selection.start(state, histograms, np.full(n, search.max_distance))
    begins, distances, rows = np.arange(n) * room, np.empty(n * room, np.int32), np.empty(n * room, np.int64)
    _scan_rows(
        codes.ctypes.data, words_of(codes.shape[1]), codes.shape[1], share.start, share.stop, queries,
        tuple_if(search.metric == "projected"), alive, masks.table, k, state, histograms, begins, room, distances,
        rows,
    )  # fmt: skip
    selection.finish(state, distances, rows, begins, k, True, search.n_bits + 1, out_distances, out_rows)


@kernel
def _scan_rows(
    codes_at, words, width, first, last, queries, projected, alive, masks, k, state, histograms, begins, room,
    distances, rows,
):  # fmt: skip
    """Select the k best of the rows first..last-1 for every query, in index order."""
    for start in range(first, last, _ROWS_AT_ONCE):
        for q in range(len(queries)):
            query_at = np.intp(queries.ctypes.data) + q * width
            limit = state[q, LIMIT]
            for row in range(start, min(last, start + _ROWS_AT_ONCE)):
                distance = distance_at(query_at, codes_at + row * width, words, width, projected)
                if distance > limit or (len(alive) and not alive[row]):
                    continue
                if selection.is_excluded(masks, q, row):
                    continue
                if state[q, HELD] == room:
                    selection.compact(state, q, distances, rows, begins[q], k, True)
                selection.accept(state, histograms, q, distances, rows, begins[q], k, True, distance, row)
                limit = state[q, LIMIT]
