"""pair_scores and update_best of every backend, called as the public functions call them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashneg.backends import implementation
from hashneg.backends.request import Exclusions


@given(
    m=st.integers(0, 9),
    n=st.integers(1, 40),
    p=st.integers(0, 12),
    d=st.integers(1, 70),
    dtype=st.sampled_from(["float32", "float64"]),
    cosine=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_pair_scores_equal_float64(backend, m, n, p, d, dtype, cosine, threads, seed):
    rng = np.random.default_rng(seed)
    anchors, rows = rng.standard_normal((m, d)).astype(dtype), rng.standard_normal((n, d)).astype(dtype)
    anchors[rng.random(m) < 0.2], rows[rng.random(n) < 0.2] = 0, 0
    which = rng.integers(-1, n, (m, p))
    scores = implementation("pair_scores", backend)(anchors, rows, which, cosine, threads)
    assert scores.dtype == np.float32
    assert scores.shape == (m, p)
    a, r = anchors.astype(np.float64), rows.astype(np.float64)
    for i in range(m):
        for j, row in enumerate(which[i]):
            if row < 0:
                assert np.isnan(scores[i, j])
                continue
            lengths = np.linalg.norm(a[i]) * np.linalg.norm(r[row]) if cosine else 1.0
            wanted = float(a[i] @ r[row]) / lengths if lengths else 0.0
            assert scores[i, j] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("cosine", [True, False])
def test_pair_scores_of_equal_rows_are_equal(backend, cosine):
    """Equal rows tie wherever they stand, so that the lower index wins."""
    rng = np.random.default_rng(0)
    anchors = rng.standard_normal((5, 37)).astype(np.float32)
    rows = np.tile(rng.standard_normal((1, 37)).astype(np.float32), (50, 1))
    which = np.tile(np.arange(50), (5, 1))
    scores = implementation("pair_scores", backend)(anchors, rows, which, cosine, 2)
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("layout", ["C", "F", "read-only", "strided"])
def test_pair_scores_read_any_layout(backend, layout):
    rng = np.random.default_rng(1)
    anchors, rows = rng.standard_normal((6, 9)).astype(np.float32), rng.standard_normal((30, 9)).astype(np.float32)
    which = rng.integers(-1, 30, (6, 4))
    run = implementation("pair_scores", backend)
    plain = run(anchors, rows, which, True)
    if layout == "F":
        rows = np.asfortranarray(rows)
    elif layout == "strided":
        rows, which = np.repeat(rows, 2, axis=0)[::2], np.repeat(which, 2, axis=1)[:, ::2]
    elif layout == "read-only":
        for array in (anchors, rows, which):
            array.flags.writeable = False
    np.testing.assert_array_equal(run(anchors, rows, which, True), plain)


@given(cuts=st.lists(st.integers(0, 700), max_size=4), k=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_the_best_do_not_depend_on_how_the_database_is_cut(backend, cuts, k, seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-2, 3, (5, 4)).astype(np.float32)  # exact products, and many ties
    database = rng.integers(-2, 3, (700, 4)).astype(np.float32)
    allowed = Exclusions(allow=(rng.random((5, 700)) < 0.5).astype(np.uint8))
    best, found = np.full((5, k), np.nan, np.float32), np.full((5, k), -1)
    edges = sorted({0, 700, *cuts})
    for start, stop in itertools.pairwise(edges):
        implementation("update_best", backend)(best, found, queries, database[start:stop], start, allowed, 2)
    for i in range(5):
        scores = queries[i] @ database.T
        order = sorted((-s, j) for j, s in enumerate(scores.tolist()) if allowed.allow[i, j])[:k]
        assert found[i].tolist() == [j for _, j in order]
        assert (-best[i]).tolist() == [s for s, _ in order]
