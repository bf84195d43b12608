"""How the training experiment finds the neighbours that batches are made of, one class for each way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

import hashneg as hn

METHODS = (
    "random", "batch-hard", "full", "incremental",
    *(f"hashneg {bits} {mode}" for mode in ("epoch", "live") for bits in (128, 256, 512, 1024)),
)  # fmt: skip
K = 128  # neighbours of a pair, as in the paper
_FIT_ROWS = 4096  # to which the thresholds of the live tables are fitted

Views = tuple[np.ndarray, np.ndarray]  # unit embeddings of the two views of the same pairs, float32 (m, d)
Encode = Callable[[np.ndarray | slice], Views]  # of some pairs, by the model of now


class Clock(Counter[str]):
    """CPU seconds of this process by what they were spent on."""

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self[what] += time.process_time() - begun


class Method(Protocol):
    """What finds neighbours.

    Attributes
    ----------
    fresh : bool
        Whether it mines from embeddings by the model of now.
    """

    fresh: bool

    def begin(self, encode: Encode) -> None:
        """Before the first epoch whose embeddings are kept."""

    def keep(self, ids: np.ndarray, views: Views) -> None:
        """Take in the embeddings of a step."""

    def mine(self, encode: Encode, clock: Clock) -> np.ndarray:
        """For every pair, the K other pairs whose right views are nearest to its left view: int64 (n, K)."""

    def drift(self, ids: np.ndarray, views: Views) -> float | None:
        """The method's own estimate of the mean angle by which right views have moved since they were kept."""


class Full:
    """Embed everything anew, then search exactly by cosine: "pre-epoch full"."""

    fresh = True

    def __init__(self, n: int) -> None:
        self.ids = np.arange(n)
        self.views: Views | None = None

    def begin(self, encode: Encode) -> None:
        pass

    def keep(self, ids: np.ndarray, views: Views) -> None:
        pass

    def mine(self, encode: Encode, clock: Clock) -> np.ndarray:
        with clock("encode"):
            self.views = encode(slice(None))
        return self._search(clock)

    def _search(self, clock: Clock) -> np.ndarray:
        with clock("search"):
            return hn.exact_topk(*self.views, K, query_ids=self.ids).indices

    def drift(self, ids: np.ndarray, right: np.ndarray) -> float | None:
        return None


class Incremental(Full):
    """Search exactly among the embeddings that the training steps computed: "pre-epoch incremental"."""

    fresh = False

    def keep(self, ids: np.ndarray, views: Views) -> None:
        if self.views is None:
            self.views = tuple(np.zeros((len(self.ids), view.shape[1]), np.float32) for view in views)
        for kept, view in zip(self.views, views, strict=True):
            kept[ids] = view

    def mine(self, encode: Encode, clock: Clock) -> np.ndarray:
        return self._search(clock)


class Hashed:
    """Search among the codes of the training steps' embeddings: hashneg.

    Each view has a table, with the same rotation and thresholds of its own.

    Parameters
    ----------
    n, bits : int
    mode : "epoch" or "live"
        As of `CodeTable`.
    """

    fresh = False

    def __init__(self, n: int, bits: int, mode: str) -> None:
        self.ids, self.bits, self.mode = np.arange(n), bits, mode
        self.tables = [hn.CodeTable(n, bits, mode=mode) for _ in range(2)]

    def begin(self, encode: Encode) -> None:
        if self.mode == "live":
            views = encode(self.ids[:: max(1, len(self.ids) // _FIT_ROWS)])
            self.tables = [hn.CodeTable(len(self.ids), hn.BinaryQuantizer(self.bits).fit(view)) for view in views]

    def keep(self, ids: np.ndarray, views: Views) -> None:
        for table, view in zip(self.tables, views, strict=True):
            table.update(ids, view)

    def mine(self, encode: Encode, clock: Clock) -> np.ndarray:
        with clock("refresh"):
            if self.mode == "epoch":
                for table in self.tables:
                    table.refresh()
        left, right = self.tables
        with clock("search"):
            return right.topk(left.codes(), K, query_ids=self.ids).indices

    def drift(self, ids: np.ndarray, right: np.ndarray) -> float | None:
        return float(self.tables[1].drift(ids, right).angle)


def method(name: str, n: int) -> Method | None:
    """The method of a row of the table; None where batches are random."""
    if name in ("random", "batch-hard"):
        return None
    if name in ("full", "incremental"):
        return Full(n) if name == "full" else Incremental(n)
    bits, mode = name.removeprefix("hashneg ").split()
    return Hashed(n, int(bits), mode)


def held_bytes(thing: Any) -> int:
    """Bytes of all NumPy arrays that an object holds, directly or through others; each buffer once."""
    buffers: dict[int, int] = {}
    waiting, known = [thing], set()
    while waiting:
        item = waiting.pop()
        if id(item) in known:
            continue
        known.add(id(item))
        if isinstance(item, np.ndarray):
            while isinstance(item.base, np.ndarray):
                item = item.base
            buffers[id(item)] = item.nbytes
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif type(item).__module__.startswith(("hashneg.", "benchmarks.")):
            waiting += [getattr(item, name, None) for name in getattr(type(item), "__slots__", ())]
            waiting += vars(item).values() if hasattr(item, "__dict__") else []
    return sum(buffers.values())


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between the rows of a and those of b, which have length 1; radians."""
    return np.arccos(np.clip((a * b).sum(axis=1), -1.0, 1.0))
