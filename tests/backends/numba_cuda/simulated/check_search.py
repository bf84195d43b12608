"""Distances, top-k, range search and the index, simulated, against the oracle: equal bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.faults import faulty_copy
from helpers.search_problems import (
    ALLOW_KINDS,
    LAYOUTS,
    Problem,
    all_distances,
    assert_same,
    brute_force_topk,
    give_exclusions,
    make_bits,
    problems,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import hashneg as hn
from hashneg.backends.numba_cuda import kernels, search


def problem_of(layout: str, nq: int, n: int, n_bits: int, *exclusions: str, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    problem = Problem(*make_bits(layout, nq, n, n_bits, rng), np.ones((nq, n), bool))
    give_exclusions(problem, set(exclusions), rng)
    return problem


def assert_equal(found, expected) -> None:
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


@settings(max_examples=12)
@given(problem=problems(max_rows=33, max_queries=5), data=st.data())
def test_topk_equals_brute_force(problem, data):
    n, n_bits = len(problem.database), problem.queries.shape[1]
    k = data.draw(st.integers(1, n + 5), "k")
    limit = data.draw(st.none() | st.integers(0, n_bits), "limit")
    metric = data.draw(st.sampled_from(["hamming", "projected"]), "metric")
    found = hn.hamming_topk(*problem.codes, k, **problem.arguments, max_distance=limit, metric=metric)
    assert_same(found, brute_force_topk(problem, k, limit, metric))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ties_across_shares_go_to_the_lower_index(layout):
    problem = problem_of(layout, 4, 50, 10)
    for k in (1, 13, 51):
        assert_same(hn.hamming_topk(*problem.codes, k), brute_force_topk(problem, k))


@pytest.mark.parametrize("kind", [*ALLOW_KINDS, "exclude all"])
def test_every_kind_of_mask(kind):
    problem = problem_of("clustered", 4, 29, 20, kind, "labels", "query_ids", "exclude")
    assert_same(hn.hamming_topk(*problem.codes, 9, **problem.arguments), brute_force_topk(problem, 9))


@pytest.mark.parametrize("n_bits", [1, 7, 8, 9, 63, 64, 65, 128, 200])
def test_every_width(n_bits):
    problem = problem_of("random", 2, 23, n_bits)
    for metric in ("hamming", "projected"):
        found = hn.hamming_distances(*problem.codes, metric=metric)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, all_distances(problem.queries, problem.database, metric))
    assert_same(hn.hamming_topk(*problem.codes, 5), brute_force_topk(problem, 5))


@pytest.mark.parametrize(("nq", "n"), [(0, 0), (0, 9), (3, 0), (1, 1)])
def test_empty_inputs(nq, n):
    problem = problem_of("random", nq, n, 12, "labels", "exclude", "allow each")
    assert_same(hn.hamming_topk(*problem.codes, 2, **problem.arguments), brute_force_topk(problem, 2))
    assert hn.hamming_range(*problem.codes, 12).indptr.tolist() == [n * i for i in range(nq + 1)]
    assert hn.hamming_distances(*problem.codes).shape == (nq, n)


def test_counters_that_leave_room_for_one_query_and_one_share(monkeypatch):
    monkeypatch.setattr(search, "_WORKSPACE_BYTES", 1)
    problem = problem_of("few codes", 4, 25, 9, "query_ids")
    assert_same(hn.hamming_topk(*problem.codes, 6, **problem.arguments), brute_force_topk(problem, 6))


@pytest.mark.parametrize("exclusions", [(), ("labels", "query_ids"), ("exclude", "allow packed each")])
@pytest.mark.parametrize("metric", ["hamming", "projected"])
def test_range_equals_the_oracle(exclusions, metric):
    problem = problem_of("clustered", 4, 41, 30, *exclusions)
    found, expected = (
        hn.hamming_range(*problem.codes, 11, **problem.arguments, metric=metric, backend=backend, offset=3)
        for backend in ("numba_cuda", "reference")
    )
    assert_equal(found, expected)


@pytest.mark.parametrize("order", ["given", "clustered"])
def test_index_equals_the_oracle_at_every_probe(order):
    """The blocks of a probe, rows that were removed, written again or added, and masks that leave a block empty."""
    problem = problem_of("clustered", 4, 70, 24, "allow few", "labels")
    codes = problem.codes
    index = hn.HammingIndex(codes[1], problem.arguments["database_labels"], order=order)
    index.remove([0, 5, 69])
    index.update([5], codes[0][0])
    index.add(codes[0], problem.arguments["query_labels"])
    allow = np.pad(problem.arguments["allow"], ((0, 0), (0, 4)), constant_values=True)
    for probe, masks in ((0.0, {}), (0.3, {"allow": allow}), (0.5, {"max_distance": 5}), (1.0, {})):
        found, expected = (
            index.topk(codes[0], 7, query_labels=[1, 2, 3, 4], probe=probe, backend=backend, **masks)
            for backend in ("numba_cuda", "reference")
        )
        assert_equal(found, expected)


def test_an_index_that_another_backend_prepared(monkeypatch):
    problem = problem_of("random", 3, 40, 24, "query_ids")
    monkeypatch.setenv("HASHNEG_BACKEND", "cpu")
    index = hn.HammingIndex(problem.codes[1])
    assert_same(
        index.topk(problem.codes[0], 4, **problem.arguments, backend="numba_cuda"), brute_force_topk(problem, 4)
    )


@pytest.mark.parametrize("layout", ["Fortran", "strided", "reversed", "read-only"])
def test_layout_of_the_input_makes_no_difference(layout):
    raw = np.random.default_rng(5).integers(0, 256, (20, 6), np.uint8)
    same = {"Fortran": np.asfortranarray(raw), "strided": np.repeat(raw, 2, axis=1)[:, ::2],
            "reversed": raw[::-1].copy()[::-1], "read-only": raw.copy()}[layout]  # fmt: skip
    if layout == "read-only":
        same.flags.writeable = False
    assert_equal(hn.hamming_topk(same[:2], same, 4), hn.hamming_topk(raw[:2], raw, 4, backend="reference"))


FAULTS = {
    "a tie too many": ("while within >= k:", "while within >= k // 2:"),
    "places not added up": ("        before += here\n    totals[level, q] = before", "    totals[level, q] = before"),
    "ranks that include the own level": ("totals[level, q] = before\n        if here", "if here"),
    "the last row of a share forgotten": ("min((share + 1) * share_rows", "min((share + 1) * share_rows - 1"),
    "the last column not padded": ("if column >= found[q]:", "if column > found[q]:"),
    "the wrong side complemented": ("query & ~other", "~query & other"),
    "bytes in the wrong order": ("np.uint64(8 * (byte - 8 * w))", "np.uint64(8 * (8 * w + 7 - byte) % 64)"),
    "a removed row returned": ("alive[row] == 0", "alive[row] == 2"),
    "a block left out": ("i < least or held < k", "i < least - 1 or held < k"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    """Each of the comparisons of this file's tests, on kernels of which one is wrong, sees the difference."""
    problem = problem_of("clustered", 4, 45, 70, "query_ids", "allow each")
    index = hn.HammingIndex(problem.codes[1], order="clustered")
    index.remove([2, 3])

    def differs() -> bool:
        topk, expected = (
            hn.hamming_topk(*problem.codes, 30, **problem.arguments, metric="projected", backend=backend)
            for backend in ("numba_cuda", "reference")
        )
        probed, probed_expected = (
            index.topk(problem.codes[0], 8, probe=0.6, backend=backend) for backend in ("numba_cuda", "reference")
        )
        pairs = [*zip(topk, expected, strict=True), *zip(probed, probed_expected, strict=True)]
        return not all(np.array_equal(got, wanted) for got, wanted in pairs)

    def is_caught() -> bool:
        try:
            return differs()
        except IndexError:  # the simulator also sees what is written beyond an array
            return True

    assert not is_caught()
    faulty = faulty_copy(kernels, *FAULTS[fault])
    for name in vars(faulty):
        if hasattr(vars(faulty)[name], "py_func"):
            monkeypatch.setattr(kernels, name, vars(faulty)[name])
    assert is_caught()
