"""exact_topk and overlap_at_k, the yardstick: against float64 brute force."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import ALLOW_KINDS, Problem, give_exclusions
from hypothesis import given, settings
from hypothesis import strategies as st

import hashneg as hn


def similarities(q: np.ndarray, x: np.ndarray, similarity: str) -> np.ndarray:
    q, x = q.astype(np.float64), x.astype(np.float64)
    scores = np.array([[sum(a * b for a, b in zip(u, v, strict=True)) for v in x] for u in q]).reshape(len(q), len(x))
    if similarity == "cosine":
        lengths = np.sqrt((q**2).sum(1))[:, None] * np.sqrt((x**2).sum(1))[None]
        scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
    return scores


def assert_is_topk(found: hn.ScoredTopK, truth: np.ndarray, allowed: np.ndarray, k: int, tolerance: float) -> None:
    """Right scores, (-score, index) order, nothing excluded, and nothing better left out than rounding allows."""
    assert found.scores.shape == found.indices.shape == (len(truth), k)
    for i in range(len(truth)):
        count = min(k, int(allowed[i].sum()))
        ids, scores = found.indices[i], found.scores[i]
        assert (ids[count:] == -1).all()
        assert np.isnan(scores[count:]).all()
        ids, scores = ids[:count], scores[:count]
        assert len(set(ids.tolist())) == count
        assert allowed[i, ids].all()
        np.testing.assert_allclose(scores, truth[i, ids], atol=tolerance)
        assert sorted(zip(-scores, ids, strict=True)) == list(zip(-scores, ids, strict=True))
        left_out = np.setdiff1d(np.flatnonzero(allowed[i]), ids)
        if count and len(left_out):
            assert truth[i, left_out].max() <= scores.min() + tolerance


@settings(max_examples=60)
@given(
    sizes=st.tuples(st.integers(0, 6), st.integers(0, 90), st.integers(1, 20)),
    k=st.integers(1, 100),
    similarity=st.sampled_from(["cosine", "dot"]),
    dtypes=st.tuples(*[st.sampled_from(["float16", "float32", "float64"])] * 2),
    names=st.sets(st.sampled_from(["query_ids", "labels", "exclude", "exclude all", *ALLOW_KINDS]), max_size=3),
    seed=st.integers(0, 2**32 - 1),
    threads=st.integers(1, 3),
)
def test_equals_brute_force(backend, sizes, k, similarity, dtypes, names, seed, threads):
    nq, n, d = sizes
    rng = np.random.default_rng(seed)
    q, x = rng.standard_normal((nq, d)).astype(dtypes[0]), rng.standard_normal((n, d)).astype(dtypes[1])
    x[rng.random(n) < 0.2] = 0
    problem = Problem(q, x, np.ones((nq, n), bool))
    give_exclusions(problem, names, rng)
    found = hn.exact_topk(q, x, k, similarity=similarity, threads=threads, **problem.arguments)
    wide = "float64" in dtypes
    assert found.scores.dtype == (np.float64 if wide else np.float32)
    narrowest = np.float32 if set(dtypes) != {"float64"} else np.float64
    tolerance = 40 * np.finfo(narrowest).eps * (d if similarity == "dot" else 1)
    assert_is_topk(found, similarities(q, x, similarity), problem.allowed, k, tolerance)


@pytest.mark.parametrize("n", [4095, 4096, 4097, 9000])
def test_rows_around_whole_tiles(backend, n):
    rng = np.random.default_rng(n)
    q, x = rng.standard_normal((260, 4)), rng.standard_normal((n, 4))
    found = hn.exact_topk(q, x, 5, query_ids=np.arange(260), threads=2)
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (q, x)]
    truth = unit[0] @ unit[1].T
    allowed = np.ones(truth.shape, bool)
    allowed[np.arange(260), np.arange(260)] = False
    assert_is_topk(found, truth, allowed, 5, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [3, 16, 129])
def test_duplicated_rows_tie_to_the_lower_index(backend, dtype, d):
    """Equal rows have equal scores wherever they lie in a tile, so the lower index comes first."""
    rng = np.random.default_rng(d)
    few = rng.standard_normal((7, d)).astype(dtype)
    which = rng.integers(0, 7, 5000)
    found = hn.exact_topk(few, few[which], 2000)
    for i in range(7):
        ids, scores = found.indices[i], found.scores[i]
        for c in range(7):
            assert len(np.unique(scores[which[ids] == c])) <= 1
        assert ids.tolist() == sorted(ids.tolist(), key=lambda j: (-scores[ids == j][0], j))
        own = np.flatnonzero(which == which[ids[0]])
        assert ids[: len(own)].tolist() == own[:2000].tolist()


def test_cosine_with_a_zero_vector_is_zero(backend):
    """Unnormalised or empty embeddings gave nan or huge scores (sentence-transformers #2944)."""
    x = np.array([[0.0, 0.0], [3e8, 0.0], [-1e-8, 0.0], [0.0, 5.0]], np.float32)
    found = hn.exact_topk(x, x, 4)
    assert found.scores[0].tolist() == [0, 0, 0, 0]
    assert found.indices[0].tolist() == [0, 1, 2, 3]
    assert found.indices[1].tolist() == [1, 0, 3, 2]
    np.testing.assert_allclose(found.scores[1], [1, 0, 0, -1], atol=1e-6)


def test_offset_leaves_padding_alone(backend):
    x = np.eye(3, dtype=np.float32)
    found = hn.exact_topk(x, x, 5, offset=100)
    assert found.indices.tolist() == [[100, 101, 102, -1, -1], [101, 100, 102, -1, -1], [102, 100, 101, -1, -1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(monkeypatch, dtype):
    rng = np.random.default_rng(8)
    q, x = rng.standard_normal((40, 24)).astype(dtype), rng.standard_normal((4500, 24)).astype(dtype)
    plain, fast = (hn.exact_topk(q, x, 30, backend=b) for b in ("reference", "auto"))
    np.testing.assert_allclose(plain.scores, fast.scores, atol=1e-6)
    gaps = np.abs(np.diff(plain.scores, axis=1)) > 1e-6
    clear = np.pad(gaps, ((0, 0), (1, 0)), constant_values=True) & np.pad(gaps, ((0, 0), (0, 1)))
    np.testing.assert_array_equal(plain.indices[clear], fast.indices[clear])


def test_frameworks_go_in_and_come_out(backend, framework):
    rng = np.random.default_rng(0)
    q, x = rng.standard_normal((3, 8), np.float32), rng.standard_normal((50, 8), np.float32)
    plain = hn.exact_topk(q, x, 4, query_ids=[0, 1, -1])
    found = hn.exact_topk(framework.array(q), framework.array(x), 4, query_ids=framework.array(np.array([0, 1, -1])))
    np.testing.assert_array_equal(framework.to_numpy(found.scores), plain.scores)
    np.testing.assert_array_equal(framework.to_numpy(found.indices), plain.indices)


@given(data=st.data(), n=st.integers(0, 4), m=st.integers(0, 7), k=st.integers(0, 7))
def test_overlap_equals_sets(data, n, m, k):
    ids = st.integers(-1, 8)
    found = np.array(data.draw(st.lists(ids, min_size=n * m, max_size=n * m)), np.int64).reshape(n, m)
    truth = np.array(data.draw(st.lists(ids, min_size=n * k, max_size=n * k)), np.int64).reshape(n, k)
    share = hn.overlap_at_k(found, truth)
    assert share.dtype == np.float32
    assert share.shape == (n,)
    for i in range(n):
        real = set(truth[i].tolist()) - {-1}
        if real:
            assert share[i] == np.float32(len(real & set(found[i, :k].tolist())) / len(real))
        else:
            assert np.isnan(share[i])


def test_overlap_takes_results(framework):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 16), np.float32)
    truth = hn.exact_topk(framework.array(x), framework.array(x), 5)
    codes = hn.BinaryQuantizer(64).fit_encode(framework.array(x))
    found = hn.hamming_topk(codes, codes, 20)
    share = framework.to_numpy(hn.overlap_at_k(found, truth))
    assert share.shape == (60,)
    assert (share >= 0.2).all()  # a row finds itself
    assert framework.to_numpy(hn.overlap_at_k(truth, truth)).tolist() == [1.0] * 60
    # PyTorch's tensors have a method of the name `indices`
    np.testing.assert_array_equal(framework.to_numpy(hn.overlap_at_k(found.indices, truth.indices)), share)


@pytest.mark.parametrize(
    ("found", "truth", "error", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), TypeError, "found must hold integers"),
        (np.zeros((2, 2), int), np.zeros(2, int), ValueError, "truth must have shape"),
        (np.zeros((3, 2), int), np.zeros((2, 2), int), ValueError, r"found must have shape \(2, m\)"),
    ],
)
def test_overlap_names_bad_arguments(found, truth, error, words):
    with pytest.raises(error, match=words):
        hn.overlap_at_k(found, truth)
