"""What holds for the batches of every epoch, on every backend, for any neighbours, labels and positives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hashneg as hn


@st.composite
def problems(draw: st.DrawFn, max_ids: int = 120) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Neighbours, batch size and options: short lists, padding anywhere, own and repeated ids, few and many labels."""
    n, k = draw(st.integers(0, max_ids)), draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    neighbours = rng.integers(-1, n, (n, k))
    if draw(st.booleans()):  # a few ids are everybody's neighbours
        neighbours = np.where(rng.random((n, k)) < 0.7, np.minimum(neighbours, 5), neighbours)
    options: dict[str, Any] = {"hardness": draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(0, 1))}
    options["seed"] = draw(st.integers(0, 2**70))
    if draw(st.booleans()):
        values = rng.integers(-(2**62), 2**62, draw(st.sampled_from([1, 2, 7, 60])))
        chances = rng.random(len(values)) ** 4  # some labels are much more frequent
        options["labels"] = values[rng.choice(len(values), n, p=chances / chances.sum())]
    if draw(st.booleans()):
        options["positives"] = rng.integers(-1, n, (n, draw(st.integers(0, 3))))
    return neighbours, draw(st.integers(1, 12)), options


def fits(batch: list[int], newcomer: int, options: dict[str, Any]) -> bool:
    labels, positives = options.get("labels"), options.get("positives")
    for member in batch:
        if labels is not None and labels[member] == labels[newcomer]:
            return False
        if positives is not None and (newcomer in positives[member] or member in positives[newcomer]):
            return False
    return True


@settings(max_examples=150)
@given(problem=problems(), epoch=st.integers(0, 3))
def test_the_invariants_hold(backend, problem, epoch):
    neighbours, batch_size, options = problem
    n = len(neighbours)
    sampler = hn.HardBatchSampler(neighbours, batch_size, **options)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler) == len(sampler.anchors)
    for batch in batches:  # full, and plain NumPy
        assert type(batch) is np.ndarray
        assert batch.dtype == np.int64
        assert batch.shape == (batch_size,)
    used = [int(i) for batch in batches for i in batch]
    assert len(used) == len(set(used))  # no id twice
    assert sampler.dropped.tolist() == sorted(set(range(n)) - set(used))  # what is left out is reported
    most_hard = int(np.floor(options["hardness"] * (batch_size - 1) + 0.5))
    for batch, anchors in zip(batches, sampler.anchors, strict=True):
        assert anchors[0] == batch[0]
        assert np.count_nonzero(batch != anchors) <= most_hard
        for place, (i, anchor) in enumerate(zip(batch.tolist(), anchors.tolist(), strict=True)):
            assert fits(batch[:place].tolist(), i, options)  # unique labels, no positives
            if anchor != i:
                assert i in neighbours[anchor]  # every non-anchor is among its anchor's candidates
                assert anchors[place - 1] == anchor  # which stands before it
            else:
                assert i not in anchors[:place]


@settings(max_examples=150)
@given(problem=problems(max_ids=60))
def test_neighbours_come_first_and_the_hardest_of_them(backend, problem):
    """Each anchor is followed by the first of its neighbours that were unused and fitted; no other was passed over."""
    neighbours, batch_size, options = problem
    sampler = hn.HardBatchSampler(neighbours, batch_size, **options)
    most_hard = int(np.floor(options["hardness"] * (batch_size - 1) + 0.5))
    used: set[int] = set()
    for batch, anchors in zip(sampler.batches.tolist(), sampler.anchors.tolist(), strict=True):
        place, hard = 0, 0
        while place < batch_size:
            anchor, so_far = batch[place], batch[: place + 1]
            assert anchors[place] == anchor
            used.add(anchor)
            for candidate in neighbours[anchor].tolist():
                if len(so_far) == batch_size or hard == most_hard:
                    break
                if candidate >= 0 and candidate not in used and fits(so_far, candidate, options):
                    so_far.append(candidate)
                    used.add(candidate)
                    hard += 1
            assert batch[: len(so_far)] == so_far
            place = len(so_far)


@settings(max_examples=100)
@given(problem=problems(), epoch=st.integers(0, 3))
def test_every_id_that_could_fill_another_batch_is_used(backend, problem, epoch):
    """Without positives an epoch ends when the ids left have fewer labels than a batch has places."""
    neighbours, batch_size, options = problem
    options.pop("positives", None)
    sampler = hn.HardBatchSampler(neighbours, batch_size, **options)
    sampler.set_epoch(epoch)
    left = sampler.dropped
    if "labels" in options:
        left = np.unique(options["labels"][left])
    assert len(left) < batch_size


@settings(max_examples=150)
@given(problem=problems(max_ids=200), epoch=st.integers(0, 3))
def test_all_backends_compose_the_same_batches(problem, epoch):
    neighbours, batch_size, options = problem
    made = []
    for backend in ("reference", "cpu"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HASHNEG_BACKEND", backend)
            sampler = hn.HardBatchSampler(neighbours, batch_size, **options)
            sampler.set_epoch(epoch)
            made.append((sampler.batches, sampler.anchors))
    np.testing.assert_array_equal(made[0], made[1])


def test_a_long_epoch_of_unequal_labels(backend):
    """Half of all ids share one label, and wait for most of the epoch."""
    rng = np.random.default_rng(0)
    n = 3000
    labels = np.where(rng.random(n) < 0.5, 0, rng.integers(1, 90, n))
    sampler = hn.HardBatchSampler(rng.integers(0, n, (n, 20)), 32, labels=labels)
    assert len(sampler) >= 40
    for batch in sampler:
        assert len(np.unique(labels[batch])) == 32
    others = int((labels > 0).sum())
    assert np.count_nonzero(labels[sampler.batches] > 0) > others - 32 * 31  # what could be used was


def test_id_zero_is_an_id_like_any_other(backend):
    neighbours = np.array([[1], [0], [3], [2]])
    for epoch in range(8):
        sampler = hn.HardBatchSampler(neighbours, 2)
        sampler.set_epoch(epoch)
        assert sorted(sorted(batch.tolist()) for batch in sampler) == [[0, 1], [2, 3]]


def test_hardness_is_the_share_of_neighbours(backend):
    """With enough neighbours: round(hardness * (batch_size - 1)) of every batch until they are used up."""
    n = 4000
    neighbours = (np.arange(n)[:, None] + np.arange(1, 65)) % n
    shares = []
    for hardness in (0, 0.25, 0.5, 0.75, 1):
        sampler = hn.HardBatchSampler(neighbours, 21, hardness=hardness)
        hard = (sampler.batches != sampler.anchors).sum(axis=1)
        assert hard[0] == 20 * hardness
        shares.append(hard.mean() / 20)
    assert shares[0] == 0
    assert all(np.diff(shares) > 0.15)
    assert shares[-1] > 0.85


def test_random_batches_are_random(backend):
    """At hardness 0 the batch of an id is uniform: chi-square of 200 ids in 10 batches over 20 epochs, both margins
    given. The limits lie six standard deviations away: a false alarm in 10^8 runs, and the seed is fixed."""
    counts = np.zeros((200, 10))
    sampler = hn.HardBatchSampler(np.zeros((200, 0), np.int64), 20, hardness=0.0)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        counts[sampler.batches, np.arange(10)[:, None]] += 1
    freedom = 199 * 9
    statistic = ((counts - 2) ** 2 / 2).sum() * (199 / 200)
    assert abs(statistic - freedom) < 6 * np.sqrt(2 * freedom)
