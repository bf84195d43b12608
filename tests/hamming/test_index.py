"""HammingIndex: equal to a plain search whatever its order and history."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers.processes import run_python
from helpers.search_problems import (
    LAYOUTS,
    Problem,
    assert_same,
    brute_force_topk,
    give_exclusions,
    make_bits,
    packed,
    problems,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import hashneg as hn

ORDERS = ["given", "clustered"]


def index_of(problem: Problem, order: str) -> tuple[hn.HammingIndex, dict]:
    arguments = dict(problem.arguments)
    labels = arguments.pop("database_labels", None)
    return hn.HammingIndex(packed(problem.database), labels, order=order), arguments


@settings(max_examples=40)
@given(problem=problems(), k=st.integers(1, 1200), data=st.data())
def test_both_orders_equal_brute_force(backend, problem, k, data):
    limit = data.draw(st.none() | st.integers(0, problem.queries.shape[1]), "limit")
    metric = data.draw(st.sampled_from(["hamming", "projected"]), "metric")
    wanted = brute_force_topk(problem, k, limit, metric)
    for order in ORDERS:
        index, arguments = index_of(problem, order)
        threads = data.draw(st.integers(1, 3), "threads")
        found = index.topk(
            packed(problem.queries), k, **arguments, max_distance=limit, metric=metric, threads=threads, probe=1.0
        )
        assert_same(found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 5000])
def test_clustered_equals_given(backend, n, layout):
    rng = np.random.default_rng(n)
    q, x = make_bits(layout, 6, n, 96, rng)
    given_order, clustered = (hn.HammingIndex(packed(x), order=order) for order in ORDERS)
    mask = rng.random((6, n)) < 0.3
    for arguments in ({}, {"allow": mask}, {"max_distance": 30}, {"metric": "projected"}, {"offset": 77}):
        assert_same(clustered.topk(packed(q), 20, **arguments), given_order.topk(packed(q), 20, **arguments))


class Machine(RuleBasedStateMachine):
    """Both orders side by side, driven through random histories, against a plain dict of rows."""

    n_bits = 21

    @initialize(n=st.sampled_from([0, 3, 511, 513, 1200]), seed=st.integers(0, 2**32 - 1))
    def start(self, n, seed):
        self.rng = np.random.default_rng(seed)
        self.rows = {}
        bits, labels = self.new_rows(n)
        self.indexes = [hn.HammingIndex(packed(bits), labels, order=order) for order in ORDERS]
        self.remember(range(n), bits, labels)

    def new_rows(self, n):
        few = self.rng.random((4, self.n_bits)) < 0.5
        bits = few[self.rng.integers(0, 4, n)] ^ (self.rng.random((n, self.n_bits)) < 0.05)
        return bits, self.rng.integers(-1, 3, n)

    def remember(self, ids, bits, labels):
        for i, row in enumerate(ids):
            self.rows[row] = (bits[i], int(labels[i]), True)

    @rule(n=st.integers(0, 5) | st.sampled_from([511, 600]))
    def add(self, n):
        bits, labels = self.new_rows(n)
        first = len(self.rows)
        for index in self.indexes:
            assert index.add(packed(bits), labels).tolist() == list(range(first, first + n))
        self.remember(range(first, first + n), bits, labels)

    @rule(n=st.integers(0, 60), new_labels=st.booleans())
    def update(self, n, new_labels):
        if not self.rows:
            return
        ids = self.rng.integers(0, len(self.rows), n)  # with repeats: the last wins
        bits, labels = self.new_rows(n)
        if not new_labels:
            labels = [self.rows[row][1] for row in ids.tolist()]
        for index in self.indexes:
            index.update(ids, packed(bits), np.array(labels) if new_labels else None)
        self.remember(ids.tolist(), bits, labels)

    @rule(n=st.integers(0, 300))
    def remove(self, n):
        if not self.rows:
            return
        ids = self.rng.integers(0, len(self.rows), n)
        for index in self.indexes:
            index.remove(ids)
        for row in ids.tolist():
            self.rows[row] = (*self.rows[row][:2], False)

    @rule()
    def fail(self):
        n = len(self.rows)
        for index in self.indexes:
            for call in (
                lambda index=index: index.update([n], packed(np.ones((1, self.n_bits), bool))),
                lambda index=index: index.update([0], packed(np.ones((1, self.n_bits + 1), bool)), [1]),
                lambda index=index: index.update([0, 0], packed(np.ones((1, self.n_bits), bool))),
                lambda index=index: index.update([], packed(np.ones((0, self.n_bits), bool)), [1]),
                lambda index=index: index.add(packed(np.ones((2, self.n_bits), bool))),
                lambda index=index: index.add(packed(np.ones((2, self.n_bits), bool)), [1]),
                lambda index=index: index.add(packed(np.ones((2, self.n_bits + 1), bool)), [1, 2]),
                lambda index=index: index.remove([0, -1]),
                lambda index=index: index.remove([0, n]),
            ):
                with pytest.raises(ValueError):
                    call()

    @rule(how=st.sampled_from(["pickle", "deepcopy"]))
    def copy(self, how):
        again = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy}[how]
        self.indexes = [again(index) for index in self.indexes]

    @rule(k=st.integers(1, 30), names=st.sets(st.sampled_from(["exclude", "allow each", "query_ids"]), max_size=2))
    def search(self, k, names):
        n = len(self.rows)
        bits = np.array([row[0] for row in self.rows.values()], bool).reshape(n, self.n_bits)
        labels = np.array([row[1] for row in self.rows.values()], np.int64)
        alive = np.array([row[2] for row in self.rows.values()], bool)
        queries, own = self.new_rows(3)
        problem = Problem(queries, bits, np.tile(alive, (3, 1)) & (own[:, None] != labels[None]))
        give_exclusions(problem, names, self.rng)
        wanted = brute_force_topk(problem, k)
        for index in self.indexes:
            assert_same(index.topk(packed(queries), k, query_labels=own, **problem.arguments), wanted)

    @invariant()
    def counts(self):
        if hasattr(self, "indexes"):
            for index in self.indexes:
                assert index.n_rows == len(self.rows)
                assert len(index) == sum(row[2] for row in self.rows.values())

    def teardown(self):
        if hasattr(self, "indexes"):
            self.search(10, set())


def test_any_history_equals_a_plain_dict(backend):
    run_state_machine_as_test(Machine, settings=settings(max_examples=25, stateful_step_count=15))


def test_a_removed_row_comes_back_when_updated(backend):
    bits = np.eye(8, dtype=bool)
    for order in ORDERS:
        index = hn.HammingIndex(packed(bits), order=order)
        index.remove([3, 3])
        assert 3 not in index.topk(packed(bits[3:4]), 8).indices
        assert len(index) == 7
        index.update([3], packed(bits[3:4]))
        assert index.topk(packed(bits[3:4]), 1).indices.tolist() == [[3]]


def test_codes_are_copied(backend):
    raw = np.zeros((600, 2), np.uint8)
    index = hn.HammingIndex(raw)
    raw[:] = 255
    assert index.topk(np.zeros((1, 2), np.uint8), 1).distances.tolist() == [[0]]
    index.codes([0]).data[:] = 255
    assert index.codes().data.max() == 0


def test_labels_cannot_be_changed_from_outside(backend):
    labels = np.arange(3)
    index = hn.HammingIndex(np.zeros((3, 1), np.uint8), labels)
    labels[:] = 9
    assert index.labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        index.labels[0] = 5


def test_row_zero_is_a_row_like_any_other(backend):
    """`and idx` as a test for "has an id" rejects id 0 (Sample4Geo)."""
    codes = packed(np.zeros((3, 8), bool))
    index = hn.HammingIndex(codes)
    assert index.topk(codes[:1], 3, query_ids=[0]).indices.tolist() == [[1, 2, -1]]
    assert index.topk(codes[:1], 3, exclude=[[0]]).indices.tolist() == [[1, 2, -1]]
    index.remove([0])
    assert index.topk(codes[:1], 3).indices.tolist() == [[1, 2, -1]]


def test_clustering_is_deterministic(backend):
    bits = make_bits("clustered", 0, 3000, 64, np.random.default_rng(2))[1]
    a, b = (hn.HammingIndex(packed(bits), order="clustered") for _ in range(2))
    queries = packed(bits[:50])
    assert_same(a.topk(queries, 9, probe=0.3), b.topk(queries, 9, probe=0.3))


def test_frameworks_go_in_and_come_out(backend, framework):
    rng = np.random.default_rng(0)
    raw, extra = rng.integers(0, 256, (600, 4), np.uint8), rng.integers(0, 256, (5, 4), np.uint8)
    plain = hn.HammingIndex(np.concatenate([raw, extra]), np.arange(605))
    index = hn.HammingIndex(framework.array(raw), framework.array(np.arange(600)))
    index.add(framework.array(extra), framework.array(np.arange(600, 605)))
    index.update(framework.array(np.array([4])), framework.array(raw[4:5]))
    found = index.topk(framework.array(raw[:3]), 7, query_labels=framework.array(np.arange(3)))
    wanted = plain.topk(raw[:3], 7, query_labels=np.arange(3))
    np.testing.assert_array_equal(framework.to_numpy(found.distances), wanted.distances)
    np.testing.assert_array_equal(framework.to_numpy(found.indices), wanted.indices)
    assert framework.to_numpy(found.indices).dtype == (np.int64 if framework.has_int64 else np.int32)


BITS = packed(np.zeros((4, 8), bool))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: hn.HammingIndex(np.zeros((4, 1))), TypeError, "codes must be Codes or a uint8 array"),
        (lambda: hn.HammingIndex(BITS, [1, 2]), ValueError, r"labels must have shape \(4,\)"),
        (lambda: hn.HammingIndex(BITS, np.zeros(4)), TypeError, "labels must hold integers"),
        (lambda: hn.HammingIndex(BITS, order="sorted"), ValueError, "order must be one of"),
        (lambda: hn.HammingIndex(BITS).topk(np.zeros((1, 2), np.uint8), 1), ValueError, "queries has n_bits=16"),
        (lambda: hn.HammingIndex(BITS).topk(BITS, 1, probe=1.5), ValueError, "probe must be at most"),
        (lambda: hn.HammingIndex(BITS).topk(BITS, 1, probe=-0.1), ValueError, "probe must be at least"),
        (lambda: hn.HammingIndex(BITS).topk(BITS, 1, probe="all"), TypeError, "probe must be a number"),
        (lambda: hn.HammingIndex(BITS, [1] * 4).topk(BITS, 1), ValueError, "so query_labels must be given"),
        (lambda: hn.HammingIndex(BITS).topk(BITS, 1, query_labels=[1] * 4), ValueError, "made without labels"),
        (lambda: hn.HammingIndex(BITS).add(BITS, [1] * 4), ValueError, "labels were given"),
        (lambda: hn.HammingIndex(BITS, [1] * 4).add(BITS), ValueError, "labels is missing"),
        (lambda: hn.HammingIndex(BITS).update([0.5], BITS[0]), TypeError, "ids must hold integers"),
        (lambda: hn.HammingIndex(BITS).update([4], BITS[0]), ValueError, r"ids\[0\] is 4"),
        (lambda: hn.HammingIndex(BITS).remove([-1]), ValueError, r"ids\[0\] is -1"),
        (lambda: hn.HammingIndex(BITS).codes([9]), ValueError, r"ids\[0\] is 9"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_threads_that_search_after_an_update_see_all_of_it():
    """The layout is brought up to date by the first search, and others must not run on half of it."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (20_000, 16), dtype=np.uint8)
    index = hn.HammingIndex(np.zeros_like(codes))
    queries, truth = codes[:100], hn.hamming_topk(codes[:100], codes, 3, threads=1)
    for _ in range(3):
        index.update(np.arange(len(codes)), codes)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: index.topk(queries, 3, threads=1), range(4)):
                np.testing.assert_array_equal(found.indices, truth.indices)
        index.update(np.arange(len(codes)), np.zeros_like(codes))


def test_a_process_forked_while_a_layout_is_written_can_search():
    """The child got a lock that nobody would give back."""
    program = """
import os
import numpy as np
import hashneg as hn
from hashneg.backends.cpu import layout
codes = np.random.default_rng(0).integers(0, 256, (2000, 8), dtype=np.uint8)
index = hn.HammingIndex(codes)
index.update([0], codes[5:6])
with layout._filling:
    child = os.fork()
    if not child:
        os._exit(int(index.topk(codes[:70], 3, threads=1).indices.shape != (70, 3)))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run_python(program)


def test_a_shallow_copy_shares_nothing_that_is_written():
    codes = hn.Codes.from_signs(np.random.default_rng(0).standard_normal((200, 32)))
    index = hn.HammingIndex(codes)
    other = copy.copy(index)
    other.update([0], codes[5])
    for queries in (codes[5], codes[5:150]):
        assert index.topk(queries, 2).indices[0].tolist() == hn.hamming_topk(queries, codes, 2).indices[0].tolist()
