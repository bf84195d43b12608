"""Mined negatives as rows of a table: one row per anchor, or the training formats of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg.cli.texts import Texts

FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Found:
    """Negatives of the anchors from row `start` on; see `hashneg.mining.job.Mined`."""

    start: int
    indices: np.ndarray
    scores: np.ndarray
    counts: np.ndarray
    positive_scores: np.ndarray

    def cut(self, low: int, high: int) -> Found:
        return Found(
            self.start + low, self.indices[low:high], self.scores[low:high], self.counts[low:high],
            self.positive_scores[low:high],
        )  # fmt: skip


class Records:
    """Turns mined negatives into tables.

    Parameters
    ----------
    format : str or None
        One of `FORMATS`; None gives one row per anchor with ids and scores.
    k : int
    positives : int64 (n, p) or None
        Padded with -1. An anchor without positives is left out of the training formats.
    texts, corpus_texts : Texts or None
        Texts of both sides, or of neither.
    """

    def __init__(
        self, format: str | None, k: int, positives: np.ndarray | None, texts: Texts | None, corpus_texts: Texts | None
    ) -> None:
        self.format, self.k, self.positives = format, k, positives
        self.texts, self.corpus_texts = texts, corpus_texts

    @property
    def schema(self) -> Any:
        import pyarrow as pa

        item = pa.int64() if self.texts is None else pa.large_string()
        if self.format is None:
            fields = [("anchor", pa.int64()), ("negatives", _list(pa.int64())), ("scores", _list(pa.float32()))]
            if self.positives is not None:
                fields += [("positives", _list(pa.int64())), ("positive_score", pa.float32())]
            if self.texts is not None:
                fields += [("anchor_text", item), ("negative_texts", _list(item))]
        else:
            rest = {
                "triplet": [("positive", item), ("negative", item)],
                "n-tuple": [("positive", item), *((f"negative_{i}", item) for i in range(1, self.k + 1))],
                "labeled-pair": [("passage", item), ("label", pa.int64())],
                "labeled-list": [("passages", _list(item)), ("labels", _list(pa.int64()))],
            }[self.format]
            fields = [("anchor", item), *rest]
        return pa.schema(fields)

    def tables(self, found: Found) -> Iterator[Any]:
        """Tables of a bounded number of rows, in the order of the anchors."""
        import pyarrow as pa

        build = {
            None: self._by_anchor,
            "triplet": self._triplets,
            "n-tuple": self._tuples,
            "labeled-pair": self._pairs,
            "labeled-list": self._lists,
        }[self.format]
        width = self.k * (1 if self.positives is None else max(1, self.positives.shape[1]))
        step = max(1, _ROWS_AT_ONCE // width)
        for low in range(0, len(found.counts), step):
            columns = build(found.cut(low, min(low + step, len(found.counts))))
            yield pa.table(columns, schema=self.schema)

    def _by_anchor(self, found: Found) -> dict[str, Any]:
        real = _leading(found.counts, self.k)
        rows = _rows(found)
        negatives = found.indices[real]
        columns = {
            "anchor": rows,
            "negatives": _nested(negatives, found.counts),
            "scores": _nested(found.scores[real], found.counts),
        }
        if self.positives is not None:
            import pyarrow as pa

            own = self.positives[rows]
            columns["positives"] = _nested(own[own >= 0], (own >= 0).sum(axis=1))
            columns["positive_score"] = pa.array(found.positive_scores, mask=np.isnan(found.positive_scores))
        if self.texts is not None:
            columns["anchor_text"] = self._anchors(rows)
            columns["negative_texts"] = _nested(self._passages(negatives), found.counts)
        return columns

    def _triplets(self, found: Found) -> dict[str, Any]:
        anchor, positive = self._pairs_of(found)
        times = found.counts[anchor]
        place = np.repeat(anchor, times)
        column = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
        return {
            "anchor": self._anchors(found.start + place),
            "positive": self._passages(np.repeat(positive, times)),
            "negative": self._passages(found.indices[place, column]),
        }

    def _tuples(self, found: Found) -> dict[str, Any]:
        anchor, positive = self._pairs_of(found)
        full = found.counts[anchor] == self.k
        anchor, positive = anchor[full], positive[full]
        negatives = {
            f"negative_{i + 1}": self._passages(np.ascontiguousarray(found.indices[anchor, i])) for i in range(self.k)
        }
        return {"anchor": self._anchors(found.start + anchor), "positive": self._passages(positive), **negatives}

    def _pairs(self, found: Found) -> dict[str, Any]:
        passages, is_positive, sizes = self._labeled(found, found.start + np.arange(len(found.counts)) >= 0)
        return {
            "anchor": self._anchors(np.repeat(_rows(found), sizes)),
            "passage": self._passages(passages),
            "label": is_positive.astype(np.int64),
        }

    def _lists(self, found: Found) -> dict[str, Any]:
        passages, is_positive, sizes = self._labeled(found, found.counts > 0)
        kept = sizes > 0
        return {
            "anchor": self._anchors(_rows(found)[kept]),
            "passages": _nested(self._passages(passages), sizes[kept]),
            "labels": _nested(is_positive.astype(np.int64), sizes[kept]),
        }

    def _labeled(self, found: Found, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positives, then negatives, of each wanted anchor that has a positive; which are positive; how many."""
        own = self._own(found)
        both = np.concatenate([own, found.indices], axis=1)
        kept = np.concatenate([own >= 0, _leading(found.counts, self.k)], axis=1)
        kept &= (wanted & (own >= 0).any(axis=1))[:, None]
        is_positive = np.broadcast_to(np.arange(both.shape[1]) < own.shape[1], both.shape)
        return both[kept], is_positive[kept], kept.sum(axis=1)

    def _pairs_of(self, found: Found) -> tuple[np.ndarray, np.ndarray]:
        """Every (anchor of this block, positive) pair."""
        own = self._own(found)
        anchor, place = np.nonzero(own >= 0)
        return anchor, own[anchor, place]

    def _own(self, found: Found) -> np.ndarray:
        assert self.positives is not None, "the training formats need positives"
        return self.positives[found.start : found.start + len(found.counts)]

    def _anchors(self, rows: np.ndarray) -> Any:
        return rows if self.texts is None else _strings(self.texts, rows)

    def _passages(self, ids: np.ndarray) -> Any:
        return ids if self.corpus_texts is None else _strings(self.corpus_texts, ids)


def _list(item: Any) -> Any:
    """A type of lists whose items are named as they are when read back from parquet."""
    import pyarrow as pa

    return pa.list_(pa.field("element", item))


def _rows(found: Found) -> np.ndarray:
    return np.arange(found.start, found.start + len(found.counts))


def _leading(counts: np.ndarray, width: int) -> np.ndarray:
    """bool (m, width): the first counts[i] places of row i."""
    return np.arange(width) < counts[:, None]


def _strings(texts: Texts, ids: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(texts.get(ids), pa.large_string())


def _nested(values: Any, sizes: np.ndarray) -> Any:
    """A column of lists from their values in a row."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values))
