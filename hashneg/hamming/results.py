"""What searches return."""

from __future__ import annotations

from typing import Any, NamedTuple


class TopK(NamedTuple):
    """The k nearest rows of every query, by (distance, index).

    Attributes
    ----------
    distances : array, int32 (nq, k), padded with 2**31 - 1
    indices : array, int64 (nq, k), padded with -1
    """

    distances: Any
    indices: Any


class ScoredTopK(NamedTuple):
    """The k most similar rows of every query, by (-score, index).

    Attributes
    ----------
    scores : array, float32 (float64 for float64 input) (nq, k), padded with NaN
    indices : array, int64 (nq, k), padded with -1
    """

    scores: Any
    indices: Any


class CSR(NamedTuple):
    """The rows within a radius of every query, as compressed sparse rows.

    Query i found ``indices[indptr[i]:indptr[i + 1]]``, by (distance, index).

    Attributes
    ----------
    indptr : array, int64 (nq + 1,)
    indices : array, int64 (indptr[-1],)
    distances : array, int32 (indptr[-1],)
    """

    indptr: Any
    indices: Any
    distances: Any
