"""hamming_topk against brute force over unpacked bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.search_problems import (
    ALLOW_KINDS,
    EDGE_BITS,
    LAYOUTS,
    Problem,
    assert_same,
    brute_force_topk,
    give_exclusions,
    make_bits,
    neighbours,
    packed,
    problems,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hashneg as hn


def problem_of(layout: str, nq: int, n: int, n_bits: int, *exclusions: str, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    queries, database = make_bits(layout, nq, n, n_bits, rng)
    problem = Problem(queries, database, np.ones((nq, n), bool))
    give_exclusions(problem, set(exclusions), rng)
    return problem


@settings(max_examples=150)
@given(problem=problems(), data=st.data())
def test_equals_brute_force(backend, problem, data):
    n, n_bits = len(problem.database), problem.queries.shape[1]
    k = data.draw(st.integers(1, 40) | st.integers(max(1, n - 1), n + 5) | st.sampled_from([1000, 1500]), "k")
    limit = data.draw(
        st.none() | st.sampled_from([0, n_bits // 2, n_bits, n_bits + 9]) | st.integers(0, n_bits), "limit"
    )
    metric = data.draw(st.sampled_from(["hamming", "projected"]), "metric")
    threads = data.draw(st.integers(1, 5), "threads")
    found = hn.hamming_topk(
        *problem.codes, k, **problem.arguments, max_distance=limit, metric=metric, threads=threads, backend=backend
    )
    assert_same(found, brute_force_topk(problem, k, limit, metric))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [255, 256, 257, 511, 512, 513, 1024, 1025, 2560])
def test_sizes_around_whole_blocks(backend, n, layout):
    problem = problem_of(layout, 3, n, 70)
    for k in (1, 16, n, n + 1):
        assert_same(hn.hamming_topk(*problem.codes, k), brute_force_topk(problem, k))


@pytest.mark.parametrize("n_bits", EDGE_BITS)
def test_every_width(backend, n_bits):
    problem = problem_of("random", 3, 700, n_bits, "query_ids")
    for metric in ("hamming", "projected"):
        found = hn.hamming_topk(*problem.codes, 20, **problem.arguments, metric=metric)
        assert_same(found, brute_force_topk(problem, 20, metric=metric))


@pytest.mark.parametrize("kind", [*ALLOW_KINDS, "exclude all"])
@pytest.mark.parametrize("n", [13, 512, 1300])
def test_every_kind_of_mask(backend, kind, n):
    problem = problem_of("clustered", 5, n, 40, kind, "labels", "query_ids")
    found = hn.hamming_topk(*problem.codes, 30, **problem.arguments)
    assert_same(found, brute_force_topk(problem, 30))


@pytest.mark.parametrize("nq", [1, 2, 63, 64, 65, 130, 257])
def test_many_queries(backend, nq):
    problem = problem_of("random", nq, 300, 24, "query_ids", "allow each")
    assert_same(hn.hamming_topk(*problem.codes, 7, **problem.arguments), brute_force_topk(problem, 7))


@pytest.mark.parametrize("k", [1000, 3000, 5000])
def test_k_may_be_large_and_exceed_the_rows(backend, k):
    problem = problem_of("clustered", 2, 3000, 64, "labels")
    found = hn.hamming_topk(*problem.codes, k, **problem.arguments)
    assert_same(found, brute_force_topk(problem, k))


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("nq", [0, 1, 4])
def test_output_is_always_nq_by_k(backend, nq, n):
    queries, database = np.zeros((nq, 9), bool), np.zeros((n, 9), bool)
    found = hn.hamming_topk(packed(queries), packed(database), 8)
    assert_same(found, brute_force_topk(Problem(queries, database, np.ones((nq, n), bool)), 8))


@given(problem=problems(max_rows=1100), k=st.integers(1, 30), cuts=st.lists(st.integers(0, 9), max_size=3))
def test_cutting_the_queries_makes_no_difference(backend, problem, k, cuts):
    q, x = problem.codes
    whole = hn.hamming_topk(q, x, k, **problem.arguments)
    borders = sorted({0, len(q), *(c for c in cuts if c <= len(q))})
    for start, stop in itertools.pairwise(borders):
        own = dict(problem.arguments)
        for name, value in own.items():
            if name != "database_labels" and not (name == "allow" and value.ndim == 1):
                own[name] = value[start:stop]
        part = hn.hamming_topk(q[start:stop], x, k, **own)
        assert_same(part, (whole.distances[start:stop], whole.indices[start:stop]))


@given(problem=problems(max_rows=1100), k=st.integers(1, 30), share=st.floats(0, 1))
@example(problem=problem_of("all equal", 2, 600, 8, "query_ids"), k=3, share=0.5)
def test_shards_merge_to_the_whole(backend, problem, k, share):
    """Two shards with `offset`, merged, equal the whole bit for bit, also where every distance ties."""
    q, x = problem.codes
    n = len(x)
    whole = hn.hamming_topk(q, x, k, **problem.arguments)
    cut = round(share * n)
    parts = []
    for start, stop in ((0, cut), (cut, n)):
        mask = problem.allowed[:, start:stop]
        parts.append(hn.hamming_topk(q, x[start:stop], k, allow=mask, offset=start))
    assert_same(hn.merge_topk(parts, k), whole)
    assert_same(hn.merge_topk(parts[::-1], k), whole)


@pytest.mark.parametrize("name", ["query_ids", "exclude"])
def test_own_row_is_dropped_by_index_not_by_column(backend, name):
    """Dropping column 0 as "self" drops the wrong row where codes are duplicated (TorchDR #295)."""
    codes = packed(np.zeros((6, 8), bool))
    own = np.arange(6)
    found = hn.hamming_topk(codes, codes, 6, **{name: own if name == "query_ids" else own[:, None]})
    for i in range(6):
        assert found.indices[i].tolist() == [j for j in range(6) if j != i] + [-1]


def test_no_room_is_lost_to_excluded_rows(backend):
    """Searching k and dropping the excluded rows leaves too few (sentence-transformers #3872): k come back here."""
    rng = np.random.default_rng(1)
    bits = rng.random((400, 32)) < 0.5
    nearest = hn.hamming_topk(packed(bits[:5]), packed(bits), 50).indices
    found = hn.hamming_topk(packed(bits[:5]), packed(bits), 50, exclude=nearest)
    assert (found.indices >= 0).all()
    for i in range(5):
        assert not set(found.indices[i]) & set(nearest[i])


def test_k_above_the_rows_pads_and_never_repeats_the_last_row(backend):
    """An index of -1 that is gathered with gives the last row (sentence-transformers #3873)."""
    problem = problem_of("random", 3, 4, 16)
    found = hn.hamming_topk(*problem.codes, 9)
    assert (found.indices[:, 4:] == -1).all()
    assert (found.distances[:, 4:] == 2**31 - 1).all()
    assert (np.sort(found.indices[:, :4], axis=1) == np.arange(4)).all()


def test_offset_leaves_padding_alone(backend):
    problem = problem_of("random", 3, 4, 16)
    assert_same(hn.hamming_topk(*problem.codes, 6, offset=2**40), brute_force_topk(problem, 6, offset=2**40))


@pytest.mark.parametrize("k", [1, 3, 10, 99])
@pytest.mark.parametrize("threads", [1, 3])
def test_ties_go_to_the_lower_index_at_every_k(backend, k, threads):
    """Libraries break ties differently per k and device (faiss #808, #1670): a larger k must extend a smaller one."""
    problem = problem_of("few codes", 4, 2000, 12)
    large = hn.hamming_topk(*problem.codes, 100, threads=threads)
    small = hn.hamming_topk(*problem.codes, k, threads=threads)
    assert_same(small, (large.distances[:, :k], large.indices[:, :k]))
    assert_same(large, brute_force_topk(problem, 100))


@pytest.mark.parametrize("n_bits", [1, 5, 13, 61])
def test_raw_bytes_mean_eight_bits_each(backend, n_bits):
    rng = np.random.default_rng(n_bits)
    raw = rng.integers(0, 256, (300, n_bits), np.uint8)
    bits = np.unpackbits(raw, axis=1, bitorder="little").astype(bool)
    problem = Problem(bits[:3], bits, np.ones((3, 300), bool))
    assert_same(hn.hamming_topk(raw[:3], raw, 9), brute_force_topk(problem, 9))


def test_layout_of_the_input_makes_no_difference(backend):
    rng = np.random.default_rng(5)
    raw = rng.integers(0, 256, (700, 6), np.uint8)
    whole = hn.hamming_topk(raw[:4], raw, 9)
    for same in (np.asfortranarray(raw), np.repeat(raw, 2, axis=1)[:, ::2], raw[::-1].copy()[::-1]):
        assert_same(hn.hamming_topk(same[:4], same, 9), whole)


@given(problem=problems(max_rows=1100), radius=st.integers(0, 2100), metric=st.sampled_from(["hamming", "projected"]))
def test_range_equals_brute_force(backend, problem, radius, metric):
    radius = min(radius, problem.queries.shape[1] + 1)
    found = hn.hamming_range(*problem.codes, radius, **problem.arguments, metric=metric, threads=2)
    wanted = neighbours(problem, radius, metric)
    assert (found.indptr.dtype, found.indices.dtype, found.distances.dtype) == (np.int64, np.int64, np.int32)
    assert found.indptr.tolist() == np.cumsum([0, *map(len, wanted)]).tolist()
    for i, pairs in enumerate(wanted):
        row = slice(found.indptr[i], found.indptr[i + 1])
        assert list(zip(found.distances[row].tolist(), found.indices[row].tolist(), strict=True)) == pairs


def test_range_with_offset(backend):
    problem = problem_of("few codes", 3, 50, 20)
    plain, moved = (hn.hamming_range(*problem.codes, 6, offset=o) for o in (0, 1000))
    np.testing.assert_array_equal(moved.indices, plain.indices + 1000)
    np.testing.assert_array_equal(moved.indptr, plain.indptr)


def test_progress_reaches_the_total(backend):
    problem = problem_of("random", 150, 600, 32)
    seen = []
    hn.hamming_topk(*problem.codes, 3, threads=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (150, 150)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_an_error_in_the_progress_callback_is_raised(backend):
    problem = problem_of("random", 150, 600, 32)

    def stop(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        hn.hamming_topk(*problem.codes, 3, threads=2, progress=stop)


def test_inputs_are_not_written_to(backend):
    problem = problem_of("random", 6, 600, 33, "labels", "exclude", "query_ids")
    q, x = problem.codes
    before = [q.data.copy(), x.data.copy(), *(np.array(v) for v in problem.arguments.values())]
    for array in (q.data, x.data, *problem.arguments.values()):
        array.flags.writeable = False
    hn.hamming_topk(q, x, 5, **problem.arguments)
    for old, new in zip(before, (q.data, x.data, *problem.arguments.values()), strict=True):
        np.testing.assert_array_equal(old, new)
