"""Composition of hard batches by its definition: one id at a time."""

from __future__ import annotations

from collections import deque

import numpy as np

from hashneg.backends.request import Composition


def compose_batches(request: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Full batches, int64 (batches, batch_size), and the anchor whose neighbour each id is (its own for anchors)."""
    batches: list[list[int]] = []
    anchors: list[list[int]] = []
    used = np.zeros(len(request.order), bool)
    fresh = deque(request.order.tolist())  # ids never tried as anchors
    waiting: deque[int] = deque()  # ids that did not fit
    while True:
        batch = _Batch(request, used)
        for _ in range(min(len(waiting), request.batch_size)):  # not all: they may be many, and fit as badly as before
            _try_anchor(batch, waiting, waiting)
        while fresh and not batch.is_full:
            _try_anchor(batch, fresh, waiting)
        if not fresh:
            for _ in range(len(waiting)):
                _try_anchor(batch, waiting, waiting)
        if not batch.is_full:
            shape = (len(batches), request.batch_size)
            return np.array(batches, np.int64).reshape(shape), np.array(anchors, np.int64).reshape(shape)
        batches.append(batch.ids)
        anchors.append(batch.anchors)


def _try_anchor(batch: _Batch, source: deque[int], waiting: deque[int]) -> None:
    """Take the first id of `source` as an anchor, with its neighbours; into `waiting` if it does not fit."""
    if batch.is_full:
        return
    anchor = source.popleft()
    if batch.used[anchor]:
        return
    if not batch.accepts(anchor):
        waiting.append(anchor)
        return
    batch.add(anchor, anchor)
    for neighbour in batch.request.neighbours[anchor].tolist():
        if batch.is_full or batch.n_hard == batch.request.n_hard:
            break
        if neighbour >= 0 and not batch.used[neighbour] and batch.accepts(neighbour):
            batch.add(neighbour, anchor)
            batch.n_hard += 1


class _Batch:
    """A batch that is being filled."""

    def __init__(self, request: Composition, used: np.ndarray) -> None:
        self.request, self.used = request, used
        self.ids: list[int] = []
        self.anchors: list[int] = []
        self.labels: set[int] = set()
        self.forbidden: set[int] = set()
        self.n_hard = 0

    @property
    def is_full(self) -> bool:
        return len(self.ids) == self.request.batch_size

    def accepts(self, candidate: int) -> bool:
        """Whether it is no positive of a member, has none among them, and no member has its label."""
        labels, positives = self.request.labels, self.request.positives
        if labels is not None and int(labels[candidate]) in self.labels:
            return False
        if candidate in self.forbidden:
            return False
        return positives is None or not set(positives[candidate].tolist()) & set(self.ids)

    def add(self, member: int, anchor: int) -> None:
        self.used[member] = True
        self.ids.append(member)
        self.anchors.append(anchor)
        if self.request.labels is not None:
            self.labels.add(int(self.request.labels[member]))
        if self.request.positives is not None:
            self.forbidden.update(self.request.positives[member].tolist())
