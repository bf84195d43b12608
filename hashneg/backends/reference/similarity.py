"""Exact similarities of embeddings, in float64."""

from __future__ import annotations

import numpy as np

from hashneg.backends.reference.search import allowed_rows
from hashneg.backends.request import NO_INDEX, Exclusions


def pair_scores(anchors: np.ndarray, rows: np.ndarray, which: np.ndarray, cosine: bool, threads: int = 1) -> np.ndarray:
    """Similarity of anchor i with rows[which[i, j]], float32 (m, p); NaN where `which` is -1."""
    scores = np.full(which.shape, np.nan, np.float32)
    for i, ids in enumerate(which):
        real = ids != NO_INDEX
        scores[i, real] = _similarity(anchors[i], rows[ids[real]], cosine)
    return scores


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
    k = best.shape[1]
    rows = np.arange(first, first + len(database))
    for i in range(len(queries)):
        allowed = allowed_rows(exclusions, i, first, first + len(database))
        old = found[i] != NO_INDEX
        scores = np.concatenate([best[i, old], _similarity(queries[i], database, False)[allowed].astype(best.dtype)])
        ids = np.concatenate([found[i, old], rows[allowed]])
        order = np.lexsort((ids, -scores))[:k]
        best[i, : len(order)] = scores[order]
        found[i, : len(order)] = ids[order]


def _similarity(x: np.ndarray, rows: np.ndarray, cosine: bool) -> np.ndarray:
    x, rows = x.astype(np.float64), rows.astype(np.float64)
    dots = (rows * x).sum(axis=1)
    if not cosine:
        return dots
    lengths = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((x * x).sum())
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
