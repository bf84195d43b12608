"""Exact similarities of embeddings: of given pairs, and the best of all pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hashneg.backends.numba_cuda import device, kernels, masks
from hashneg.backends.numba_cuda.device import cuda
from hashneg.backends.numba_cuda.masks import is_excluded
from hashneg.backends.numba_cuda.projection import multiply
from hashneg.backends.request import NO_INDEX, Exclusions


def pair_scores(anchors: Any, rows: Any, which: Any, cosine: bool, threads: int = 1) -> Any:
    """Similarity of anchor i with rows[which[i, j]], float32 (m, p); NaN where `which` is -1."""
    with device.memory("a rerank", which, 4 * which.shape[1]):
        scores = device.empty(tuple(which.shape), "float32")
        if scores.size:
            arrays = device.view(anchors), device.view(rows), device.view(which)
            device.launch(score_pairs, scores.size, *arrays, cosine, scores)
    return device.result(scores)


def update_best(
    best: Any, found: Any, queries: Any, database: Any, first: int, exclusions: Exclusions, threads: int = 1
) -> None:
    """Merge the rows first, first+1, ... of the database into the best (nq, k) so far, in place.

    `best` and `found` are sorted by (-score, index) and padded with NaN and -1.
    """
    nq, n = len(queries), len(database)
    with device.memory("an exact search", database, best.dtype.itemsize * (nq + database.shape[1])):
        if not (nq and n):
            return
        queries, database = device.view(queries), device.view(database)
        rows = device.empty(database.shape[::-1], database.dtype)
        scores = device.empty((nq, n), queries.dtype)
        device.launch(kernels.transpose, rows.size, database, rows)
        multiply(queries, rows, scores)
        with device.changing(best, "best") as scores_so_far, device.changing(found, "found") as rows_so_far:
            device.launch(merge_scores, nq, scores_so_far, rows_so_far, scores, first, *masks.on_device(exclusions))


@cuda.jit
def score_pairs(anchors, rows, which, cosine, scores):
    """Products of float32 numbers are exact in float64, so that equal similarities come out equal."""
    thread = cuda.grid(1)
    if thread >= scores.size:
        return
    i, j = thread // scores.shape[1], thread % scores.shape[1]
    row = which[i, j]
    if row < 0 or row >= rows.shape[0]:  # padding, or an id that nobody checked
        scores[i, j] = math.nan
        return
    dot, own, other = 0.0, 0.0, 0.0
    for t in range(anchors.shape[1]):
        a, b = np.float64(anchors[i, t]), np.float64(rows[row, t])
        dot += a * b
        own += a * a
        other += b * b
    if cosine:
        dot = dot / (math.sqrt(own) * math.sqrt(other)) if own > 0 and other > 0 else 0.0
    scores[i, j] = dot


@cuda.jit
def merge_scores(
    best, found, scores, first, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed
):  # fmt: skip
    """Insert scores into sorted lists; rows come by ascending index, so an equal score goes behind."""
    q = cuda.grid(1)
    if q >= best.shape[0]:
        return
    k = best.shape[1]
    held = k
    while held > 0 and found[q, held - 1] == NO_INDEX:
        held -= 1
    for j in range(scores.shape[1]):
        score = scores[q, j]
        if math.isnan(score) or (held == k and score <= best[q, k - 1]):
            continue
        if is_excluded(q, first + j, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed):
            continue
        at = min(held, k - 1)
        held = min(held + 1, k)
        while at > 0 and score > best[q, at - 1]:
            best[q, at] = best[q, at - 1]
            found[q, at] = found[q, at - 1]
            at -= 1
        best[q, at] = score
        found[q, at] = first + j
