"""Composition of hard batches, one id at a time, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.request import Composition

_NONE = np.empty(0, np.int64)


def compose_batches(request: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Full batches, int64 (batches, batch_size), and the anchor whose neighbour each id is (its own for anchors)."""
    shape = (len(request.order) // request.batch_size, request.batch_size)
    ids, anchors = np.empty(shape, np.int64), np.empty(shape, np.int64)
    labels = _NONE if request.labels is None else request.labels
    positives = _NONE.reshape(0, 0) if request.positives is None else request.positives
    count = _compose(request.order, request.neighbours, labels, positives, request.n_hard, ids, anchors)
    return ids[:count], anchors[:count]


@njit(nogil=True, cache=True)
def _compose(order, neighbours, labels, positives, n_hard, ids, anchors):
    n = len(order)
    n_batches, batch_size = ids.shape
    used = np.zeros(n, np.bool_)
    # The last batch that holds this label; that holds this id; that holds an id of which this one is a positive.
    label_in = np.full(labels.max() + 1 if len(labels) else 0, -1)
    member_of = np.full(len(positives), -1)
    forbidden_in = np.full(len(positives), -1)
    waiting = np.empty(n, np.int64)  # a ring of the ids that did not fit when they were tried
    first, n_waiting, n_tried = 0, 0, 0
    for batch in range(n_batches):
        size, hard = 0, 0
        some, every = min(n_waiting, batch_size), -1
        while size < batch_size:
            if some > 0 or every > 0:
                if some > 0:
                    some -= 1
                else:
                    every -= 1
                anchor = waiting[first]
                first = (first + 1) % n
                n_waiting -= 1
            elif n_tried < n:
                anchor = order[n_tried]
                n_tried += 1
            elif every < 0:
                every = n_waiting
                continue
            else:
                return batch
            if used[anchor]:
                continue
            if not _accepts(anchor, batch, labels, positives, label_in, member_of, forbidden_in):
                waiting[(first + n_waiting) % n] = anchor
                n_waiting += 1
                continue
            _add(anchor, anchor, batch, size, ids, anchors, used, labels, positives, label_in, member_of, forbidden_in)
            size += 1
            for neighbour in neighbours[anchor]:
                if size == batch_size or hard == n_hard:
                    break
                if neighbour < 0 or used[neighbour]:
                    continue
                if _accepts(neighbour, batch, labels, positives, label_in, member_of, forbidden_in):
                    _add(
                        neighbour, anchor, batch, size, ids, anchors, used, labels, positives, label_in, member_of,
                        forbidden_in,
                    )  # fmt: skip
                    size += 1
                    hard += 1
    return n_batches


@njit(nogil=True, cache=True)
def _accepts(candidate, batch, labels, positives, label_in, member_of, forbidden_in):
    if len(labels) and label_in[labels[candidate]] == batch:
        return False
    if len(positives):
        if forbidden_in[candidate] == batch:
            return False
        for positive in positives[candidate]:
            if positive >= 0 and member_of[positive] == batch:
                return False
    return True


@njit(nogil=True, cache=True)
def _add(member, anchor, batch, size, ids, anchors, used, labels, positives, label_in, member_of, forbidden_in):
    ids[batch, size] = member
    anchors[batch, size] = anchor
    used[member] = True
    if len(labels):
        label_in[labels[member]] = batch
    if len(positives):
        member_of[member] = batch
        for positive in positives[member]:
            if positive >= 0:
                forbidden_in[positive] = batch
