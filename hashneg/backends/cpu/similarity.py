"""Exact similarities of embeddings: of given pairs (see pairs.py), and the best of all pairs."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.matrix import ROWS_AT_A_TIME, multiply, panels_of
from hashneg.backends.cpu.pairs import pair_scores
from hashneg.backends.cpu.selection import Masks, is_excluded
from hashneg.backends.request import NO_INDEX, Exclusions
from hashneg.threads import run_tiles

__all__ = ["pair_scores", "update_best"]

_TILE_ROWS = 1024  # of the database


def update_best(
    best: np.ndarray,
    found: np.ndarray,
    queries: np.ndarray,
    database: np.ndarray,
    first: int,
    exclusions: Exclusions,
    threads: int = 1,
) -> None:
    """Merge the rows first, first+1, ... of the database into the best (nq, k) so far, in place.

    `best` and `found` are sorted by (-score, index) and padded with NaN and -1.
    """
    masks = Masks(exclusions)  # holds the arrays whose addresses are in its table
    queries = np.ascontiguousarray(queries, dtype=best.dtype)
    for first_tile in range(0, len(database), _TILE_ROWS):
        rows = database[first_tile : first_tile + _TILE_ROWS].astype(best.dtype, copy=False)
        panels = panels_of(rows, np.zeros(len(rows)))
        _update(queries, len(rows), panels, first + first_tile, best, found, masks.table, threads)


def _update(
    queries: np.ndarray,
    n_rows: int,
    panels: tuple[np.ndarray, np.ndarray],
    first: int,
    best: np.ndarray,
    found: np.ndarray,
    masks: np.ndarray,
    threads: int,
) -> None:
    """Score one tile of the database for all queries, on `threads` threads, and merge."""

    def work(start: int) -> None:
        part = slice(start, min(start + ROWS_AT_A_TIME, len(queries)))
        scores = np.empty((part.stop - start, n_rows), queries.dtype)
        multiply(queries[part], *panels, scores)
        _merge(best[part], found[part], scores, start, first, masks)

    run_tiles(work, range(0, len(queries), ROWS_AT_A_TIME), threads)


@njit(nogil=True, cache=True)
def _merge(best, found, scores, first_query, first_row, masks):
    """Insert scores into sorted lists; rows come by ascending index, so an equal score goes behind."""
    k = best.shape[1]
    for q in range(scores.shape[0]):
        held = k
        while held > 0 and found[q, held - 1] == NO_INDEX:
            held -= 1
        for j in range(scores.shape[1]):
            score = scores[q, j]
            if np.isnan(score):
                continue
            if held == k and not score > best[q, k - 1]:
                continue
            if is_excluded(masks, first_query + q, first_row + j):
                continue
            place = min(held, k - 1)
            held = min(held + 1, k)
            while place > 0 and score > best[q, place - 1]:
                best[q, place] = best[q, place - 1]
                found[q, place] = found[q, place - 1]
                place -= 1
            best[q, place] = score
            found[q, place] = first_row + j
