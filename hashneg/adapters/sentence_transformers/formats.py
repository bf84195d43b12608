"""Negatives as columns of texts, in the four formats of sentence-transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg.adapters.sentence_transformers.pairs import Pairs
from hashneg.backends.request import NO_INDEX

FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")


@dataclass(frozen=True)
class Found:
    """Negatives of every query, and scores of its positives.

    Attributes
    ----------
    negatives : int64 (q, k), padded with -1
    scores : float32 (q, k), padded with NaN
    positive_scores : float32 (q, p), padded with NaN
    """

    negatives: np.ndarray
    scores: np.ndarray
    positive_scores: np.ndarray


def columns(output_format: str, with_scores: bool, pairs: Pairs, found: Found) -> dict[str, list[Any]]:
    """Columns of the data set; all formats but "labeled-pair" have rows for each (query, positive)."""
    query, place = np.nonzero(pairs.positives != NO_INDEX)
    row = _Rows(
        query, pairs.positives[query, place], found.positive_scores[query, place], found.negatives[query],
        found.scores[query],
    )  # fmt: skip
    write = {"triplet": _triplets, "n-tuple": _tuples, "labeled-pair": _labeled_pairs, "labeled-list": _labeled_lists}
    return write[output_format](with_scores, pairs, found, row)


@dataclass(frozen=True)
class _Rows:
    """One row for each (query, positive)."""

    query: np.ndarray
    positive: np.ndarray
    positive_score: np.ndarray
    negatives: np.ndarray
    scores: np.ndarray

    def some(self, kept: np.ndarray) -> _Rows:
        return _Rows(*(value[kept] for value in vars(self).values()))


def _of(items: list[Any], rows: np.ndarray) -> list[Any]:
    return [items[row] for row in rows.tolist()]


def _triplets(with_scores: bool, pairs: Pairs, found: Found, row: _Rows) -> dict[str, list[Any]]:
    of, place = np.nonzero(row.negatives != NO_INDEX)
    data = {
        pairs.anchor_column: _of(pairs.queries, row.query[of]),
        pairs.positive_column: _of(pairs.corpus, row.positive[of]),
        "negative": _of(pairs.corpus, row.negatives[of, place]),
    }
    if with_scores:
        data["scores"] = np.stack([row.positive_score[of], row.scores[of, place]], axis=1).tolist()
    return data


def _tuples(with_scores: bool, pairs: Pairs, found: Found, row: _Rows) -> dict[str, list[Any]]:
    row = row.some((row.negatives != NO_INDEX).all(axis=1))
    data = {
        pairs.anchor_column: _of(pairs.queries, row.query),
        pairs.positive_column: _of(pairs.corpus, row.positive),
        **{f"negative_{i}": _of(pairs.corpus, column) for i, column in enumerate(row.negatives.T, start=1)},
    }
    if with_scores:
        data["scores"] = np.concatenate([row.positive_score[:, None], row.scores], axis=1).tolist()
    return data


def _labeled_pairs(with_scores: bool, pairs: Pairs, found: Found, row: _Rows) -> dict[str, list[Any]]:
    texts = np.concatenate([pairs.positives, found.negatives], axis=1)
    of, place = np.nonzero(texts != NO_INDEX)
    data = {pairs.anchor_column: _of(pairs.queries, of), pairs.positive_column: _of(pairs.corpus, texts[of, place])}
    if with_scores:
        scores = np.concatenate([found.positive_scores, found.scores], axis=1)
        return data | {"score": scores[of, place].tolist()}
    return data | {"label": (place < pairs.positives.shape[1]).astype(int).tolist()}


def _labeled_lists(with_scores: bool, pairs: Pairs, found: Found, row: _Rows) -> dict[str, list[Any]]:
    row = row.some((row.negatives != NO_INDEX).any(axis=1))
    real = row.negatives != NO_INDEX
    data = {
        pairs.anchor_column: _of(pairs.queries, row.query),
        pairs.positive_column: [
            [pairs.corpus[positive], *_of(pairs.corpus, own[kept])]
            for positive, own, kept in zip(row.positive.tolist(), row.negatives, real, strict=True)
        ],
    }
    if with_scores:
        each = zip(row.positive_score.tolist(), row.scores, real, strict=True)
        return data | {"scores": [[score, *own[kept].tolist()] for score, own, kept in each]}
    return data | {"labels": [[1] + [0] * count for count in real.sum(axis=1).tolist()]}
