"""Epochs: same seed, same batches on every machine; state that resumes; arguments that are refused."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

import hashneg as hn

RNG = np.random.default_rng(0)
N = 500
NEIGHBOURS = RNG.integers(-1, N, (N, 16))
LABELS = RNG.integers(0, 120, N)


def new(**options) -> hn.HardBatchSampler:
    return hn.HardBatchSampler(NEIGHBOURS, 8, **({"labels": LABELS, "hardness": 0.8} | options))


def test_batches_are_the_same_on_every_machine(backend):
    """A digest taken once: neither NumPy's generators nor the order of a hash table may decide."""
    rows = np.arange(N)
    neighbours = (7 * rows[:, None] + np.arange(1, 17) ** 2) % N
    sampler = hn.HardBatchSampler(neighbours, 8, labels=13 * rows % 120, hardness=0.8, seed=7)
    digest = hashlib.sha256()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        digest.update(sampler.batches.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "c89b9e4c4519fbc6"


def test_seed_and_epoch_decide():
    one, two = new(seed=1), new(seed=1)
    np.testing.assert_array_equal(list(one), list(two))
    np.testing.assert_array_equal(list(one), list(one))  # an epoch can be iterated again
    first = one.batches
    one.set_epoch(1)
    assert not np.array_equal(one.batches[:5], first[:5])
    one.set_epoch(0)
    np.testing.assert_array_equal(one.batches, first)
    assert not np.array_equal(new(seed=2).batches[:5], first[:5])


def test_no_global_random_state_is_used():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    new().batches  # noqa: B018
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_new_neighbours_and_hardness_count_from_the_next_iteration():
    sampler = new()
    running = iter(sampler)
    old = [next(running) for _ in range(2)]
    before = sampler.batches
    sampler.neighbours = NEIGHBOURS[::-1].copy()
    assert not np.array_equal(sampler.batches[:5], before[:5])
    np.testing.assert_array_equal([*old, *running], before)  # the one that runs goes on undisturbed
    sampler.neighbours = NEIGHBOURS
    np.testing.assert_array_equal(sampler.batches, before)
    sampler.hardness = 0
    np.testing.assert_array_equal(sampler.batches, sampler.anchors)
    with pytest.raises(ValueError, match="neighbours must have shape"):
        sampler.neighbours = NEIGHBOURS[1:]
    with pytest.raises(ValueError, match="hardness"):
        sampler.hardness = 1.5
    np.testing.assert_array_equal(sampler.neighbours, NEIGHBOURS)


@pytest.mark.parametrize("taken", [0, 1, 17, None])
def test_a_resumed_epoch_gives_the_rest_and_no_neighbours_are_needed_for_it(taken):
    sampler = new(seed=5)
    sampler.set_epoch(3)
    whole = list(sampler)
    taken = len(whole) if taken is None else taken
    running = iter(sampler)
    for _ in range(taken):
        next(running)
    state = pickle.loads(pickle.dumps(sampler.state_dict()))
    other = hn.HardBatchSampler(np.full((N, 1), -1), 8)
    other.load_state_dict(state)
    other.set_epoch(3)  # as a training loop does
    np.testing.assert_array_equal(np.array(list(other)).reshape(-1, 8), np.array(whole[taken:]).reshape(-1, 8))
    assert (other.epoch, other.seed, other.hardness) == (3, 5, 0.8)
    np.testing.assert_array_equal(other.dropped, sampler.dropped)
    np.testing.assert_array_equal(other.anchors, sampler.anchors)
    np.testing.assert_array_equal(list(other), whole)  # and from the start again after that
    other.set_epoch(4)
    assert len(list(other)) == len(other)


def test_a_loop_that_knows_its_place_says_so():
    """A loader that fetches ahead has taken more batches than the loop has used."""
    sampler = new()
    whole = list(sampler)
    other = new()
    other.load_state_dict(sampler.state_dict(position=4))
    np.testing.assert_array_equal(list(other), whole[4:])


def test_a_state_is_a_copy():
    sampler = new()
    state = sampler.state_dict()
    before = pickle.dumps(state)
    for batch in sampler:
        batch[:] = 0  # what a loop does to its ids changes nothing either
    assert pickle.dumps(state) == before
    state["batches"][:] = 0
    assert len(np.unique(sampler.batches)) == sampler.batches.size


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n": 3}, ValueError, "n=3"),
        ({"batch_size": 4}, ValueError, "batch_size=4"),
        ({"batches": np.zeros((2, 8), np.int64)}, ValueError, "anchors"),
        ({"batches": np.zeros((2, 8), np.int64), "anchors": np.zeros((2, 8), np.int64)}, ValueError, "twice"),
        ({"batches": np.full((1, 8), N), "anchors": np.zeros((1, 8), np.int64)}, ValueError, "0 to 499"),
        ({"batches": np.zeros((2, 8))}, ValueError, "int64"),
        ({"position": -1}, ValueError, "position"),
        ({"hardness": 2.0}, ValueError, "hardness"),
        ({"seed": "x"}, TypeError, "seed"),
        ({"epoch": None}, TypeError, "epoch"),
    ],
)
def test_damaged_states_are_refused_and_change_nothing(change, error, words):
    sampler = new()
    before = list(sampler)
    with pytest.raises(error, match=words):
        sampler.load_state_dict(sampler.state_dict() | change)
    with pytest.raises(ValueError, match="no 'seed'"):
        sampler.load_state_dict({key: value for key, value in sampler.state_dict().items() if key != "seed"})
    np.testing.assert_array_equal(list(sampler), before)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"neighbours": NEIGHBOURS.astype(float)}, TypeError, "neighbours must hold integers"),
        ({"neighbours": np.full((N, 2), N)}, ValueError, r"neighbours\[\(0, 0\)\] is 500"),
        ({"neighbours": np.full((N, 2), -2)}, ValueError, "neighbours"),
        ({"neighbours": NEIGHBOURS[0]}, ValueError, "neighbours must have shape"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
        ({"labels": LABELS[1:]}, ValueError, "labels must have shape"),
        ({"labels": LABELS * 0.5}, TypeError, "labels"),
        ({"positives": np.full((N, 1), N)}, ValueError, "positives"),
        ({"positives": np.zeros((N - 1, 1), np.int64)}, ValueError, "positives must have shape"),
        ({"hardness": 1.1}, ValueError, "hardness must be at most 1"),
        ({"hardness": float("nan")}, ValueError, "hardness"),
        ({"seed": -1}, ValueError, "seed"),
    ],
)
def test_wrong_arguments_are_named(change, error, words):
    arguments = {"neighbours": NEIGHBOURS, "batch_size": 8} | change
    with pytest.raises(error, match=words):
        hn.HardBatchSampler(**arguments)
    with pytest.raises(TypeError, match="epoch"):
        new().set_epoch(0.5)


def test_neighbours_come_from_any_framework_and_search(framework):
    plain = new()
    given = new(labels=framework.array(LABELS))
    given.neighbours = framework.array(NEIGHBOURS)
    np.testing.assert_array_equal(given.batches, plain.batches)
    found = hn.TopK(framework.array(np.zeros((N, 16), np.int32)), framework.array(NEIGHBOURS))
    np.testing.assert_array_equal(hn.HardBatchSampler(found, 8, labels=LABELS, hardness=0.8).batches, plain.batches)


def brute_force_hardest(i: int, candidates: list[int]) -> set[int]:
    """The candidates that come last among the neighbours of i, or are none."""
    row = NEIGHBOURS[i].tolist()
    ranks = {j: row.index(j) if j in row else len(row) for j in candidates if j != i}
    return {j for j, rank in ranks.items() if rank == max(ranks.values())}


def test_the_hardest_positive_is_the_farthest_of_the_neighbours_or_none(framework):
    lists = RNG.integers(-1, N, (N, 4))
    lists[::3, 0] = NEIGHBOURS[::3, 3]
    lists[::6, 1:] = -1
    ids = RNG.integers(0, N, 200)
    found = framework.to_numpy(new(positives=lists).hardest_positives(framework.array(ids)))
    for i, hardest in zip(ids, found.tolist(), strict=True):
        given = [j for j in lists[i].tolist() if j >= 0]
        best = brute_force_hardest(i, given)
        assert hardest == next((j for j in given if j in best), -1)  # ties: the first listed
    found = new().hardest_positives(ids).tolist()
    for i, hardest in zip(ids, found, strict=True):
        best = brute_force_hardest(i, np.flatnonzero(LABELS[i] == LABELS).tolist())
        assert hardest in best if best else hardest == -1
    later = new()
    later.set_epoch(1)
    assert later.hardest_positives(ids).tolist() != found  # ties are drawn anew each epoch
    single = new(positives=lists[:, 0])
    assert single.hardest_positives([0, 6]).tolist() == [lists[0, 0], lists[6, 0]]
    with pytest.raises(ValueError, match="neither positives nor labels"):
        new(labels=None).hardest_positives([0])
