"""Arguments of the search: frameworks in and out, and errors that name the argument."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import packed

import hashneg as hn

RNG = np.random.default_rng(0)
Q = packed(RNG.random((4, 20)) < 0.5)
X = packed(RNG.random((30, 20)) < 0.5)
F = RNG.standard_normal((4, 6)).astype(np.float32)


class OnCuda:
    """What a CUDA array looks like through DLPack."""

    shape, dtype, device = (4, 3), "uint8", "cuda:0"

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise AssertionError("the memory of another device must not be asked for")


def test_frameworks_go_in_and_come_out(backend, framework):
    f = framework.array
    ids, labels, other = np.array([0, 5, -1, 29]), np.arange(4), np.arange(30) % 4
    exclude, allow = np.array([[1, -1]] * 4), np.arange(30) % 3 > 0
    plain = hn.hamming_topk(
        Q, X, 30, query_ids=ids, query_labels=labels, database_labels=other, exclude=exclude, allow=allow
    )
    found = hn.hamming_topk(
        hn.Codes(f(Q.data), 20), hn.Codes(f(X.data), 20), 30, query_ids=f(ids), query_labels=f(labels),
        database_labels=f(other), exclude=f(exclude), allow=f(allow),
    )  # fmt: skip
    np.testing.assert_array_equal(framework.to_numpy(found.distances), plain.distances)
    np.testing.assert_array_equal(framework.to_numpy(found.indices), plain.indices)
    assert framework.to_numpy(found.distances).dtype == np.int32
    assert framework.to_numpy(found.indices).dtype == (np.int64 if framework.has_int64 else np.int32)
    packed_mask = f(np.packbits(allow, bitorder="little"))
    again = hn.hamming_topk(Q, hn.Codes(f(X.data), 20), 30, allow=packed_mask)  # the queries' framework comes out
    np.testing.assert_array_equal(again.indices, hn.hamming_topk(Q, X, 30, allow=allow).indices)


def test_a_mask_may_be_a_view_of_any_strides(backend):
    rng = np.random.default_rng(1)
    shared, each = rng.random(30) < 0.5, rng.random((4, 30)) < 0.5
    for mask in (shared[::-1], each[:, ::-1], each[::-1], np.repeat(shared, 3)[::3], np.asfortranarray(each)):
        found = hn.hamming_topk(Q, X, 30, allow=mask)
        np.testing.assert_array_equal(found.indices, hn.hamming_topk(Q, X, 30, allow=mask.copy()).indices)
        for i, row in enumerate(np.broadcast_to(mask, (4, 30))):
            assert sorted(found.indices[i, : row.sum()]) == np.flatnonzero(row).tolist()


def test_range_comes_out_in_the_framework_of_the_queries(backend, framework):
    plain = hn.hamming_range(Q, X, 8)
    found = hn.hamming_range(hn.Codes(framework.array(Q.data), 20), X, 8)
    for got, wanted in zip(found, plain, strict=True):
        np.testing.assert_array_equal(framework.to_numpy(got), wanted)


def test_an_index_that_does_not_fit_is_refused_by_jax():
    jnp = pytest.importorskip("jax.numpy")
    codes = hn.Codes(jnp.asarray(Q.data), 20)
    with pytest.raises(ValueError, match="does not fit JAX's int32"):
        hn.hamming_topk(codes, X, 2, offset=2**31)


COMMON = [
    ({"queries": Q.data.astype(np.int8)}, TypeError, "queries must be Codes or a uint8 array"),
    ({"queries": F}, TypeError, "queries must be Codes or a uint8 array.*BinaryQuantizer"),
    ({"queries": Q.data.tolist()}, TypeError, "queries must be Codes or a uint8 array, got list"),
    ({"queries": Q.data[0]}, ValueError, r"queries must have shape \(n, width\)"),
    ({"queries": OnCuda()}, RuntimeError, "queries is a .*cuda:0.*move it to the CPU"),
    ({"database": OnCuda()}, RuntimeError, "database is a .*cuda:0"),
    ({"database": np.zeros((3, 0), np.uint8)}, ValueError, "database must have shape"),
    ({"database": X.data}, ValueError, "queries has n_bits=20 but database has n_bits=24"),
    ({"query_ids": [0, 1]}, ValueError, r"query_ids must have shape \(4,\)"),
    ({"query_ids": [0, 1, 2, 30]}, ValueError, r"query_ids\[3\] is 30; ids must be rows 0 to 29"),
    ({"query_ids": [0, 1, -2, 3]}, ValueError, r"query_ids\[2\] is -2"),
    ({"query_ids": np.zeros(4)}, TypeError, "query_ids must hold integers"),
    ({"query_ids": np.zeros(4, bool)}, TypeError, "query_ids must hold integers"),
    ({"query_ids": OnCuda()}, RuntimeError, "query_ids is a .*cuda:0"),
    ({"query_labels": [1] * 4}, ValueError, "database_labels is missing"),
    ({"database_labels": [1] * 30}, ValueError, "query_labels is missing"),
    ({"query_labels": [1] * 4, "database_labels": [1] * 29}, ValueError, r"database_labels must have shape \(30,\)"),
    ({"query_labels": [1.5] * 4, "database_labels": [1] * 30}, TypeError, "query_labels must hold integers"),
    ({"query_labels": np.full(4, 2**63, np.uint64), "database_labels": [1] * 30}, ValueError, "query_labels holds"),
    ({"exclude": [1, 2, 3, 4]}, ValueError, r"exclude must have shape \(4, m\)"),
    ({"exclude": [[1, 30]] * 4}, ValueError, r"exclude\[\(0, 1\)\] is 30"),
    ({"exclude": [[1, -3]] * 4}, ValueError, r"exclude\[\(0, 1\)\] is -3"),
    ({"allow": np.ones(29, bool)}, ValueError, r"allow as bool must have shape \(30,\) or \(4, 30\)"),
    ({"allow": np.ones((3, 30), bool)}, ValueError, "allow as bool must have shape"),
    ({"allow": np.ones(30, np.uint8)}, ValueError, r"allow as packed uint8 must have shape \(4,\) or \(4, 4\)"),
    ({"allow": np.ones(30, int)}, TypeError, "allow must be bool, or uint8"),
    ({"allow": [True] * 30}, TypeError, "allow must be an array"),
    ({"allow": OnCuda()}, RuntimeError, "allow is a .*cuda:0"),
    ({"offset": -1}, ValueError, "offset must be at least 0"),
    ({"offset": 1.0}, TypeError, "offset must be an integer"),
    ({"backend": "fpga"}, ValueError, "backend must be one of"),
    ({"backend": 3}, TypeError, "backend must be one of"),
    ({"threads": 0}, ValueError, "threads must be at least 1"),
    ({"threads": True}, TypeError, "threads must be an integer, got the bool"),
    ({"metric": "jaccard"}, ValueError, "metric must be one of"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        *COMMON,
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": -3}, ValueError, "k must be at least 1"),
        ({"k": True}, TypeError, "k must be an integer, got the bool True"),
        ({"k": 2.0}, TypeError, "k must be an integer, got float"),
        ({"k": None}, TypeError, "k must be an integer"),
        ({"max_distance": -1}, ValueError, "max_distance must be at least 0"),
        ({"max_distance": 1.5}, TypeError, "max_distance must be an integer"),
    ],
)
def test_topk_names_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        hn.hamming_topk(**({"queries": Q, "database": X, "k": 3} | arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        *COMMON,
        ({"radius": -1}, ValueError, "radius must be at least 0"),
        ({"radius": None}, TypeError, "radius must be an integer"),
        ({"radius": True}, TypeError, "radius must be an integer"),
    ],
)
def test_range_names_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        hn.hamming_range(**({"queries": Q, "database": X, "radius": 3} | arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"a": F}, TypeError, "a must be Codes or a uint8 array"),
        ({"b": X.data}, ValueError, "a has n_bits=20 but b has n_bits=24"),
        ({"metric": "cosine"}, ValueError, "metric must be one of"),
        ({"b": OnCuda()}, RuntimeError, "b is a .*cuda:0"),
    ],
)
def test_distances_name_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        hn.hamming_distances(**({"a": Q, "b": X} | arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"queries": F.astype(int)}, TypeError, "queries must be one of float16"),
        ({"database": F[:, :5]}, ValueError, "queries have 6 dimensions but database has 5"),
        ({"database": np.where(np.arange(4)[:, None] == 2, np.nan, F)}, ValueError, "database .* first in row 2"),
        ({"queries": np.where(np.arange(4)[:, None] == 3, np.inf, F)}, ValueError, "queries .* first in row 3"),
        ({"similarity": "hamming"}, ValueError, "similarity must be one of"),
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"query_ids": [9] * 4}, ValueError, r"query_ids\[0\] is 9"),
        ({"database": OnCuda()}, RuntimeError, "database is a .*cuda:0"),
    ],
)
def test_exact_names_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        hn.exact_topk(**({"queries": F, "database": F, "k": 3} | arguments))


def test_checks_of_values_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    bad = F.copy()
    bad[1, 1] = np.nan
    assert hn.exact_topk(F[:1], F, 1, backend="reference").indices.tolist() == [[0]]
    hn.exact_topk(bad, F, 1, backend="reference")  # no error: the caller vouches for the values


def test_the_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("HASHNEG_BACKEND", "quantum")
    with pytest.raises(ValueError, match="HASHNEG_BACKEND must be one of"):
        hn.hamming_topk(Q, X, 1)
    hn.hamming_topk(Q, X, 1, backend="reference")  # the argument has precedence


def test_the_environment_chooses_the_threads(monkeypatch):
    monkeypatch.setenv("HASHNEG_NUM_THREADS", "none")
    with pytest.raises(ValueError, match="HASHNEG_NUM_THREADS must be an integer >= 1, got 'none'"):
        hn.hamming_topk(Q, X, 1)
    hn.hamming_topk(Q, X, 1, threads=1)
