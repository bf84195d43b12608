"""The float yardstick: exact top-k by cosine or dot product, and how much of it a search found."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import NO_INDEX
from hashneg.device_embeddings import embeddings, finite_check
from hashneg.hamming import exclusions
from hashneg.hamming.results import ScoredTopK
from hashneg.progress import Meter, Progress
from hashneg.threads import thread_count

SIMILARITIES = ("cosine", "dot")
_DATABASE_ROWS = 4096  # rows read and scaled at a time
_QUERY_ROWS = 4096


def exact_topk(
    queries: Any,
    database: Any,
    k: int,
    *,
    similarity: str = "cosine",
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    offset: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress = False,
) -> ScoredTopK:
    """The k most similar database rows of every query, by the embeddings themselves.

    This costs n_queries x n x d; it is what the binary search is measured against.

    Parameters
    ----------
    queries, database : array, float (nq, d), (n, d)
    k : int
        At least 1; may exceed n.
    similarity : "cosine" or "dot"
        Cosine with a row of zeros is 0.
    query_ids, query_labels, database_labels, exclude, allow, offset, backend, threads, progress
        As in `hamming_topk`.

    Returns
    -------
    ScoredTopK
        scores float32 (float64 for float64 input) and indices int64 (nq, k), sorted by (-score, index),
        padded with NaN and -1, of the framework of `queries`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `hamming_topk`; ValueError also for NaN or infinity.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    >>> hn.exact_topk(x, x, 1, query_ids=range(3)).indices.ravel().tolist()
    [1, 0, 1]
    """
    with arrays.current_stream(queries):
        x, y = embeddings(queries, "queries"), embeddings(database, "database", queries)
        if x.shape[1] != y.shape[1]:
            raise ValueError(f"queries have {x.shape[1]} dimensions but database has {y.shape[1]}; they must agree")
        k = checks.integer(k, "k", minimum=1)
        offset = checks.integer(offset, "offset", minimum=0)
        masks = exclusions.build(
            len(x), len(y), query_ids=query_ids, query_labels=query_labels,
            database_labels=database_labels, exclude=exclude, allow=allow, like=queries, also=(finite_check(x, y),),
        )  # fmt: skip
        if checks.choice(similarity, "similarity", SIMILARITIES) == "cosine":
            x, y = x.normalize(), y.normalize()
        update = implementation("update_best", choose_backend(backend, arrays.is_on_device(queries)))
        count = thread_count(threads)
        full = cuda_arrays.namespace(arrays.is_on_device(queries)).full
        scores = full((len(x), k), np.nan, np.result_type(x.dtype, y.dtype))
        indices = full((len(x), k), NO_INDEX, np.int64)
        with Meter(progress, len(y), "exact search") as meter:
            for first, rows in y.blocks(_DATABASE_ROWS):
                for start, tile in x.blocks(_QUERY_ROWS):
                    stop = start + len(tile)
                    part = masks.queries(start, stop)
                    update(scores[start:stop], indices[start:stop], tile, rows, first, part, count)
                meter.advance(len(rows))
        indices += offset * (indices >= 0)
        export = arrays.exporter(queries)
        return ScoredTopK(export(scores), export(indices))


def overlap_at_k(found: Any, truth: Any) -> Any:
    """The share of the true neighbours that was found, query by query.

    Parameters
    ----------
    found, truth : array, int (n, m), (n, k); or results with `.indices`
        Database rows, padded with -1. Only the first k columns of `found` count.

    Returns
    -------
    array, float32 (n,)
        Between 0 and 1; NaN where `truth` holds padding only. Of the framework of `found`.

    Raises
    ------
    TypeError, ValueError
        If the arguments are not integer matrices of n rows.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.overlap_at_k(np.array([[1, 2, 3, 4]]), np.array([[4, 3, 9, -1]])).tolist()
    [0.6666666865348816]
    """
    found, truth = (getattr(x, "indices", x) if isinstance(x, tuple) else x for x in (found, truth))
    right = arrays.integers(truth, "truth", (None, None))
    left = arrays.integers(found, "found", (len(right), None))[:, : right.shape[1]]
    both = np.sort(np.concatenate([_distinct(left), _distinct(right)], axis=1), axis=1)
    hits = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] != NO_INDEX)).sum(axis=1)
    real = (_distinct(right) != NO_INDEX).sum(axis=1)
    share = np.divide(hits, real, out=np.full(len(right), np.nan), where=real > 0)
    return arrays.exporter(found)(share.astype(np.float32))


def _distinct(ids: np.ndarray) -> np.ndarray:
    """Each row sorted, with repeated ids replaced by -1."""
    ids = np.sort(ids, axis=1)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = NO_INDEX
    return ids
