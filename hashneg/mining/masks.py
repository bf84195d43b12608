"""Who may never be an anchor's negative, checked once for the whole job and cut for each slice of the anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.hamming import exclusions


@dataclass(frozen=True)
class Masks:
    """The exclusions of a job. Every field may be None: nothing is excluded by it.

    Attributes
    ----------
    query_ids : int64 (n,), the corpus row that anchor i is, or -1
    labels, corpus_labels : int64 (n,), (m,)
    exclude : int64 (n, e), padded with -1
    allow : as given, a plain array
    positives : int64 (n, p), padded with -1
    """

    query_ids: Any
    labels: Any
    corpus_labels: Any
    exclude: Any
    allow: Any
    positives: Any

    @classmethod
    def checked(
        cls, n: int, n_corpus: int, itself: bool, *,
        labels: Any, corpus_labels: Any, query_ids: Any, exclude: Any, allow: Any, positives: Any, like: Any,
        also: checks.ValueCheck | None,
    ) -> Masks:  # fmt: skip
        """Masks from user arguments; `itself` says that the anchors are mined against each other.

        `like` are the anchors: where they lie on a device, all arrays have to. `also` is a check of other values.
        """
        if itself:
            if corpus_labels is not None:
                raise ValueError("corpus_labels goes with corpus; without one, labels are the labels of both sides")
            if query_ids is not None:
                raise ValueError("query_ids goes with corpus; without one, anchor i is row i")
            corpus_labels, query_ids = labels, range(n)
        if (labels is None) != (corpus_labels is None):
            missing = "labels" if labels is None else "corpus_labels"
            raise ValueError(f"labels exclude only when both sides have them: {missing} is missing")
        if labels is not None:
            labels = arrays.integers(labels, "labels", (n,), like)
            corpus_labels = arrays.integers(corpus_labels, "corpus_labels", (n_corpus,), like)
        if exclude is not None:
            exclude = arrays.integers(exclude, "exclude", (n, None), like)
        if query_ids is not None:
            query_ids = arrays.integers(query_ids, "query_ids", (n,), like)
        positives = _positives(positives, n, like)
        check = None if positives is None else exclusions.ids_check(positives, "positives", n_corpus)
        exclusions.build(
            n, n_corpus, query_ids=query_ids, exclude=exclude, allow=allow, like=like, also=(check, also)
        )  # all rows are checked before the work starts
        if positives is not None and positives.ndim == 1:
            positives = positives[:, None]
        allow = None if allow is None else arrays.beside(allow, "allow", like)
        return cls(query_ids, labels, corpus_labels, exclude, allow, positives)

    def of(self, start: int, stop: int) -> dict[str, Any]:
        """The exclusion arguments of the index search for the anchors `start` to `stop`."""

        def cut(mask: Any) -> Any:
            return None if mask is None else mask[start:stop]

        listed, own = cut(self.exclude), cut(self.positives)
        if own is not None:
            listed = own if listed is None else np.concatenate([own, listed], axis=1)
        shared = self.allow is None or self.allow.ndim == 1
        return {
            "query_ids": cut(self.query_ids),
            "query_labels": cut(self.labels),
            "exclude": listed,
            "allow": self.allow if shared else cut(self.allow),
        }


def _positives(positives: Any, n: int, like: Any) -> Any:
    if positives is None:
        return None
    shape: tuple[int | None, ...] = (n, None)
    flat = isinstance(positives, (list, tuple, range)) and not any(isinstance(i, (list, tuple)) for i in positives)
    if flat or getattr(positives, "ndim", None) == 1:
        shape = shape[:1]
    return arrays.integers(positives, "positives", shape, like)
