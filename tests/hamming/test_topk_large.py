"""Sizes at which a kernel shares out the database, widens its counters, or would run out of memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers.search_problems import (
    Problem,
    assert_same,
    brute_force_topk,
    give_exclusions,
    make_bits,
    neighbours,
)

import hashneg as hn


@pytest.mark.parametrize("nq", [1, 2, 5])
@pytest.mark.parametrize("layout", ["few codes", "clustered", "farthest first"])
def test_few_queries_share_the_database_among_threads(backend, nq, layout):
    """Shares of the rows on several threads merge to the same arrays, ties included."""
    rng = np.random.default_rng(nq)
    n = 140_001
    queries, database = make_bits(layout, nq, n, 12, rng)
    problem = Problem(queries, database, np.ones((nq, n), bool))
    give_exclusions(problem, {"allow packed", "query_ids", "labels"}, rng)
    arguments = dict(problem.arguments)
    q, x = problem.codes
    wanted = brute_force_topk(problem, 300)
    for threads in (1, 2, 5):
        assert_same(hn.hamming_topk(q, x, 300, **arguments, threads=threads), wanted)
    index = hn.HammingIndex(x, arguments.pop("database_labels"))
    assert_same(index.topk(q, 300, **arguments, threads=4), wanted)


@pytest.mark.parametrize("n_bits", [4095, 32767, 65535, 65536, 70001])
def test_there_is_no_limit_on_the_bits(backend, n_bits):
    rng = np.random.default_rng(n_bits)
    queries, database = rng.random((6, n_bits)) < 0.5, rng.random((90, n_bits)) < 0.5
    database[:6], database[6] = queries, ~queries[0]  # distances 0 and n_bits occur
    problem = Problem(queries, database, np.ones((6, 90), bool))
    for metric in ("hamming", "projected"):
        found = hn.hamming_topk(*problem.codes, 90, metric=metric)
        assert_same(found, brute_force_topk(problem, 90, metric=metric))
        single = hn.hamming_topk(problem.codes[0][:1], problem.codes[1], 90, metric=metric)
        assert_same(single, (found.distances[:1], found.indices[:1]))
    counts = np.diff(hn.hamming_range(*problem.codes, n_bits // 2).indptr)
    assert counts.tolist() == [len(pairs) for pairs in neighbours(problem, n_bits // 2)]


def test_memory_stays_far_below_all_pairs(backend):
    n = 2000 if backend == "reference" else 20_000
    raw = np.random.default_rng(0).integers(0, 256, (n, 8), np.uint8)
    hn.hamming_topk(raw[:600], raw[:600], 8, query_ids=np.arange(600))  # compiles outside the measurement
    for search in (
        lambda: hn.hamming_topk(raw, raw, 8, query_ids=np.arange(n), threads=2),
        lambda: hn.hamming_range(raw, raw, 2, threads=2),
    ):
        tracemalloc.start()
        try:
            search()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < n * n / 4, f"{peak / 1e6:.0f} MB at the peak for {n} rows"


def test_queries_that_outnumber_a_tile_keep_their_masks(backend):
    """Masks of their own for each query are cut together with the queries."""
    rng = np.random.default_rng(3)
    queries, database = make_bits("clustered", 700, 90, 30, rng)
    problem = Problem(queries, database, np.ones((700, 90), bool))
    give_exclusions(problem, {"query_ids", "exclude", "labels", "allow packed each"}, rng)
    for threads in (1, 4):
        found = hn.hamming_topk(*problem.codes, 12, **problem.arguments, threads=threads)
        assert_same(found, brute_force_topk(problem, 12))
