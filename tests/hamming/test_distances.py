"""hamming_distances: a metric with the right parity, and the same numbers as FAISS."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.requirements import need
from helpers.search_problems import EDGE_BITS, all_distances, make_bits, packed
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn


@given(n_bits=st.integers(1, 300) | st.sampled_from(EDGE_BITS), seed=st.integers(0, 2**32 - 1), p=st.floats(0, 1))
def test_is_a_metric_with_the_right_parity(backend, n_bits, seed, p):
    rng = np.random.default_rng(seed)
    bits = rng.random((7, n_bits)) < p
    d = hn.hamming_distances(packed(bits), packed(bits))
    assert d.dtype == np.int32
    np.testing.assert_array_equal(d, d.T)
    np.testing.assert_array_equal(d == 0, (bits[:, None] == bits[None]).all(axis=2))
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :]).all()  # the triangle inequality
    ones = bits.sum(axis=1)
    np.testing.assert_array_equal(d % 2, (ones[:, None] + ones[None]) % 2)


@given(
    n_bits=st.integers(1, 300) | st.sampled_from(EDGE_BITS),
    sizes=st.tuples(st.integers(0, 20), st.integers(0, 600)),
    seed=st.integers(0, 2**32 - 1),
    threads=st.integers(1, 3),
)
def test_equals_matrix_products(backend, n_bits, sizes, seed, threads):
    q, x = make_bits("random", *sizes, n_bits, np.random.default_rng(seed))
    for metric in ("hamming", "projected"):
        d = hn.hamming_distances(packed(q), packed(x), metric=metric, threads=threads)
        np.testing.assert_array_equal(d, all_distances(q, x, metric))
        assert d.dtype == np.int32


def test_projected_counts_the_ones_that_the_other_lacks(backend):
    """popcount(q AND NOT x): asymmetric, and padding bits of x, which are zero, count for nothing."""
    q, x = packed(np.array([[True] * 5])), packed(np.array([[True, False, True, False, False]]))
    assert hn.hamming_distances(q, x, metric="projected").tolist() == [[3]]
    assert hn.hamming_distances(x, q, metric="projected").tolist() == [[0]]


@pytest.mark.parametrize("layout", ["random", "clustered"])
@pytest.mark.parametrize("n_bits", [64, 256, 1024])
def test_distances_are_those_of_faiss(backend, layout, n_bits):
    """Equal distances; and the same rows, as sets, below the k-th distance, where FAISS's tie order has no say."""
    faiss = need("faiss")
    q, x = make_bits(layout, 20, 3000, n_bits, np.random.default_rng(3))
    queries, database = packed(q), packed(x)
    flat = faiss.IndexBinaryFlat(n_bits)
    flat.add(database.data)
    k = 50
    theirs_d, theirs_i = flat.search(queries.data, k)
    ours = hn.hamming_topk(queries, database, k)
    np.testing.assert_array_equal(ours.distances, theirs_d)
    for i in range(len(queries)):
        below = theirs_d[i] < theirs_d[i, -1]
        assert set(ours.indices[i, below].tolist()) == set(theirs_i[i, below].tolist())


def test_frameworks_go_in_and_come_out(backend, framework):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (3, 4), np.uint8), rng.integers(0, 256, (600, 4), np.uint8)
    plain = hn.hamming_distances(a, b)
    given_a, given_b = framework.array(a), framework.array(b)
    np.testing.assert_array_equal(framework.to_numpy(hn.hamming_distances(given_a, given_b)), plain)
    np.testing.assert_array_equal(framework.to_numpy(hn.hamming_distances(given_a, hn.Codes(b, 32))), plain)
