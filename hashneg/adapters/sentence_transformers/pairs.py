"""Distinct queries and texts of a data set of (anchor, positive) pairs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from hashneg.backends.request import NO_INDEX


class Pairs:
    """What is mined: each query and each text of the corpus once.

    Attributes
    ----------
    anchor_column, positive_column : str
    n_rows : int
        Of the data set.
    queries, corpus : list
        Distinct, in order of first appearance; the corpus holds the given one and then the positives.
    query_rows, corpus_rows : int64
        Where each of them first appears: in the data set, and in the given corpus followed by the data set.
    positives : int64 (len(queries), p), padded with -1
        Corpus rows that are positives of each query, in order of first appearance.
    most_positives : int
        Rows of the data set that share one query, at most.
    """

    def __init__(self, dataset: Any, anchor_column: str | None, positive_column: str | None, corpus: Any) -> None:
        names = list(getattr(dataset, "column_names", None) or dataset)
        self.anchor_column = _column(names, anchor_column, 0)
        self.positive_column = _column(names, positive_column, 1)
        queries, positives = list(dataset[self.anchor_column]), list(dataset[self.positive_column])
        if not queries:
            raise ValueError("dataset is empty; it must hold (anchor, positive) pairs")
        if len(queries) != len(positives):
            raise ValueError(f"dataset has {len(queries)} anchors and {len(positives)} positives")
        self.n_rows = len(queries)
        self.queries, self.query_rows, query_of = _distinct(queries)
        self.corpus, self.corpus_rows, text_of = _distinct([*([] if corpus is None else corpus), *positives])
        listed: list[dict[int, None]] = [{} for _ in self.queries]
        for query, positive in zip(query_of, text_of[-len(positives) :], strict=True):
            listed[query][positive] = None
        self.positives = np.full((len(listed), max(map(len, listed))), NO_INDEX)
        for row, own in zip(self.positives, listed, strict=True):
            row[: len(own)] = list(own)
        self.most_positives = max(Counter(query_of).values())


def _column(names: list[str], wanted: str | None, place: int) -> str:
    if wanted in names:
        return str(wanted)
    if wanted is not None:
        raise ValueError(f"dataset has no column {wanted!r}; its columns are {names}")
    if len(names) < 2:
        raise ValueError(f"dataset must have a column of anchors and one of positives, got {names}")
    return names[place]


def _distinct(items: list[Any]) -> tuple[list[Any], np.ndarray, list[int]]:
    """The distinct items, where each first appears, and for every item its number among them."""
    number: dict[Any, int] = {}
    first: list[int] = []
    numbers = []
    for row, item in enumerate(items):
        numbers.append(number.setdefault(item, len(number)))
        if len(number) > len(first):
            first.append(row)
    return list(number), np.array(first, np.int64), numbers
