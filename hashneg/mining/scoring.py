"""Scores of (anchor, corpus row) pairs: exact, from a caller's function, or estimated from codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hashneg import arrays, cuda_arrays
from hashneg.arrays import Embeddings
from hashneg.backends import implementation
from hashneg.backends.request import NO_INDEX
from hashneg.hamming.order import best_first as best_first

ScoreFunction = Callable[[np.ndarray, np.ndarray], Any]
_GATHER_BYTES = 32 << 20


def cosine_of_distance(distances: Any, n_bits: int) -> Any:
    """cos(pi H / n_bits), float32; NaN where there is no distance."""
    estimates = np.cos(np.pi * np.arange(n_bits + 2) / n_bits).astype(np.float32)
    estimates[-1] = np.nan
    return cuda_arrays.beside(estimates, distances)[np.minimum(distances, n_bits + 1)]


def code_scores(codes: np.ndarray, corpus: np.ndarray, ids: np.ndarray, n_bits: int) -> np.ndarray:
    """The estimate for given pairs, float32 (m, p); NaN where `ids` is -1."""
    scores = np.full(ids.shape, np.nan, np.float32)
    anchor, place = np.nonzero(ids != NO_INDEX)
    differing = codes[anchor] ^ corpus[ids[anchor, place]]
    scores[anchor, place] = cosine_of_distance(np.bitwise_count(differing).sum(axis=1, dtype=np.int64), n_bits)
    return scores


def exact_scores(
    anchors: np.ndarray, corpus: Embeddings, ids: np.ndarray, similarity: str, backend: str, threads: int
) -> np.ndarray:
    """Cosine or dot product of anchor i with corpus row ids[i, j], float32 (m, p); NaN where `ids` is -1."""
    run = implementation("pair_scores", backend)
    cosine = similarity == "cosine"
    matrix = corpus.in_memory
    squares_may_overflow = cosine and anchors.dtype == np.float64
    if matrix is not None and matrix.dtype == anchors.dtype and not squares_may_overflow:
        return run(anchors, matrix, ids, cosine, threads)
    if squares_may_overflow:
        anchors = arrays.unit_rows(anchors)
    scores = np.empty(ids.shape, np.float32)
    step = max(1, _GATHER_BYTES // (max(1, ids.shape[1]) * corpus.shape[1] * anchors.dtype.itemsize))
    for start in range(0, len(ids), step):
        part = ids[start : start + step]
        rows, which = np.unique(part, return_inverse=True)
        padded = int(len(rows) > 0 and rows[0] == NO_INDEX)
        gathered = corpus.take(rows[padded:]).astype(anchors.dtype, copy=False)
        if squares_may_overflow:
            gathered = arrays.unit_rows(gathered)
        which = which.reshape(part.shape) - padded  # the padding's place becomes -1 again
        scores[start : start + step] = run(anchors[start : start + step], gathered, which, cosine, threads)
    return scores


def function_scores(score_fn: ScoreFunction, anchor_rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """What the caller's function gives for all pairs at once, float32 (m, p); NaN where `ids` is -1."""
    scores = np.full(ids.shape, np.nan, np.float32)
    anchor, place = np.nonzero(ids != NO_INDEX)
    if not len(anchor):
        return scores
    given = score_fn(anchor_rows[anchor], ids[anchor, place])
    values = arrays.to_numpy(given, "score_fn's result")
    if arrays.is_bfloat16(given):  # the upper half of a float32
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if values.shape != (len(anchor),) or values.dtype.kind not in "fiu":
        raise ValueError(
            f"score_fn must return one float for each of the {len(anchor)} pairs, shape ({len(anchor)},), "
            f"got {arrays.describe(given)}"
        )
    if np.isnan(values).any():
        first = int(np.argmax(np.isnan(values)))
        raise ValueError(
            f"score_fn returned NaN, first for anchor {int(anchor_rows[anchor[first]])} and corpus row "
            f"{int(ids[anchor[first], place[first]])}"
        )
    scores[anchor, place] = values
    return scores


def packed_left(scores: Any, ids: Any) -> tuple[Any, Any]:
    """Real candidates moved before the padding of their row, in their order."""
    order = np.argsort((ids == NO_INDEX).astype(np.int8), axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
