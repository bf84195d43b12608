"""JAX: packing, search, encoder and table equal NumPy's results, and trace under jit, vmap and grad."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from helpers.projections import bits, exact, quantizer, tolerance
from helpers.requirements import need
from helpers.search_problems import Problem, brute_force_topk, give_exclusions, make_bits

import hashneg as hn

jax = need("jax")
jnp = need("jax.numpy")

from hashneg.adapters import jax as adapter  # noqa: E402

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int32"])
def test_packing_equals_numpys(dtype):
    for shape in [(0, 5), (1, 1), (7, 8), (2, 3, 65)]:
        values = 3 * floats(*shape)
        values[..., ::3] = 0  # counts as positive
        x = jnp.asarray(values).astype(dtype)
        wanted = np.packbits(np.asarray(x).astype(np.float32) >= 0, axis=-1, bitorder="little")
        packed = jax.jit(adapter.pack_signs)(x)
        assert packed.dtype == jnp.uint8
        np.testing.assert_array_equal(packed, wanted)


def test_packing_refuses_what_has_no_sign():
    for x in (jnp.ones((2, 2), bool), jnp.ones((2, 2), jnp.uint8)):
        with pytest.raises(TypeError, match="signed"):
            adapter.pack_signs(x)


SEARCHES = [  # exclusions, layout, (n, nq, n_bits, k), metric
    ({"query_ids", "labels", "exclude"}, "few codes", (0, 3, 9, 2), "hamming"),
    ({"labels", "allow each"}, "all equal", (41, 5, 33, 50), "hamming"),
    ({"query_ids", "exclude", "allow packed"}, "random", (4097, 3, 64, 7), "projected"),
    ({"exclude all", "allow packed each"}, "clustered", (45, 4, 7, 4), "hamming"),
    ({"allow shared"}, "farthest first", (700, 300, 131, 3), "hamming"),
    (set(), "random", (9, 0, 8, 1), "projected"),
]


@pytest.mark.parametrize("backend", ["jax", "auto"])
@pytest.mark.parametrize(("names", "layout", "sizes", "metric"), SEARCHES)
def test_search_equals_brute_force(names, layout, sizes, metric, backend):
    n, nq, n_bits, k = sizes
    queries, database = make_bits(layout, nq, n, n_bits, np.random.default_rng(5))
    problem = Problem(queries, database, np.ones((nq, n), bool))
    give_exclusions(problem, names, np.random.default_rng(6))
    for name in ("query_labels", "database_labels"):  # beyond int32, which the next test is about
        if name in problem.arguments:
            problem.arguments[name] = problem.arguments[name] % 1013
    q, x = (jnp.asarray(codes.data) for codes in problem.codes)
    limit = n_bits // 2
    found = adapter.hamming_topk(
        q, x, k, n_bits=n_bits, max_distance=limit, metric=metric, backend=backend, **problem.arguments
    )
    wanted = brute_force_topk(problem, k, limit, metric)
    assert (found.distances.dtype, found.indices.dtype) == (jnp.int32, jnp.int32)
    np.testing.assert_array_equal(found.distances, wanted[0])
    np.testing.assert_array_equal(found.indices, wanted[1])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_kernels_of_a_backend_trace(backend):
    """Under jit and vmap, with ids that are no row of the database."""
    codes = adapter.pack_signs(floats(3, 40, 24))

    def nearest(codes, backend):
        return adapter.hamming_topk(codes[:7], codes, 5, n_bits=21, query_ids=jnp.arange(7) * 9, backend=backend)

    found = jax.jit(jax.vmap(partial(nearest, backend=backend)))(codes)
    for got, wanted in zip(found, jax.vmap(partial(nearest, backend="jax"))(codes), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_the_kernels_cannot_do_is_said():
    codes = adapter.pack_signs(floats(4, 8))
    with pytest.raises(ValueError, match="backend must be one of"):
        adapter.hamming_topk(codes, codes, 1, backend="gpu")
    with pytest.raises(RuntimeError, match="cupy"):
        adapter.hamming_topk(codes, codes, 1, backend="cupy")
    with pytest.raises(TypeError, match="max_distance must be an integer"):
        jax.jit(lambda limit: adapter.hamming_topk(codes, codes, 1, max_distance=limit, backend="auto"))(3)


def test_labels_that_jax_would_cut_off_are_refused():
    codes = adapter.pack_signs(floats(4, 8))
    labels = np.array([0, 2**32, 1, 2])  # equal in 32 bits
    with pytest.raises(ValueError, match="jax_enable_x64"):
        adapter.hamming_topk(codes, codes, 1, query_labels=labels, database_labels=labels)
    mixed = jnp.array([0, 1, 2, 3], jnp.uint32)
    with pytest.raises(TypeError, match="one dtype"):
        adapter.hamming_topk(codes, codes, 1, query_labels=mixed, database_labels=mixed.astype(jnp.int32))


def test_bits_beyond_n_bits_count_for_nothing():
    codes = jnp.array([[0b00000101], [0b11111101]], jnp.uint8)
    assert adapter.hamming_topk(codes, codes, 2, n_bits=3).distances.tolist() == [[0, 0], [0, 0]]


def test_search_traces_under_jit_and_vmap():
    x = jnp.asarray(floats(3, 50, 20))
    allow = jnp.asarray(RNG.random((3, 50)) < 0.7)

    def nearest(x, allow, limit):
        codes = adapter.pack_signs(x)
        return adapter.hamming_topk(
            codes[:7], codes, 4, n_bits=20, query_ids=jnp.arange(7), allow=allow, max_distance=limit
        )

    found = jax.jit(jax.vmap(nearest, in_axes=(0, 0, None)))(x, allow, 9)
    for i in range(3):
        codes = hn.Codes.from_signs(np.asarray(x[i]))
        wanted = hn.hamming_topk(codes[:7], codes, 4, query_ids=range(7), allow=np.asarray(allow[i]), max_distance=9)
        np.testing.assert_array_equal(found.distances[i], wanted.distances)
        np.testing.assert_array_equal(found.indices[i], wanted.indices)


def test_wrong_arguments_are_refused():
    codes = adapter.pack_signs(floats(4, 16))
    for change, error, words in [
        ({"n_bits": 9 + 8 * 2}, ValueError, "n_bits=25"),
        ({"query_ids": jnp.zeros(3, int)}, ValueError, "query_ids"),
        ({"exclude": jnp.zeros((4, 1))}, TypeError, "exclude"),
        ({"query_labels": jnp.zeros(4, int)}, ValueError, "database_labels is missing"),
        ({"allow": jnp.ones(5, bool)}, ValueError, "allow"),
        ({"allow": jnp.ones(4)}, TypeError, "allow"),
        ({"metric": "cosine"}, ValueError, "metric"),
    ]:
        with pytest.raises(error, match=words):
            adapter.hamming_topk(codes, codes, 1, **change)
    with pytest.raises(TypeError, match="uint8"):
        adapter.hamming_topk(codes.astype(int), codes, 1)
    with pytest.raises(ValueError, match="width"):
        adapter.hamming_topk(codes[0], codes, 1)


@pytest.mark.parametrize(
    ("rotation", "dtype"),
    [("orthogonal", "float32"), ("gaussian", "bfloat16"), ("hadamard", "float16"), ("itq", "float32"),
     ("identity", "float32")],
)  # fmt: skip
def test_an_encoder_gives_the_quantizers_codes(rotation, dtype):
    """But for bits within rounding of their threshold, by the bound of the design."""
    x = jnp.asarray(floats(300, 40)).astype(dtype)
    wide = np.asarray(x.astype(jnp.float32))
    fitted = quantizer(rotation, "median").fit(x)
    encode = adapter.Encoder.of(fitted)
    mine, theirs = bits(hn.Codes(jax.jit(adapter.Encoder.__call__)(encode, x), fitted.n_bits)), bits(fitted.encode(x))
    differ = mine != theirs
    assert (np.abs(exact(fitted, wide)) <= tolerance(fitted, wide))[differ].all()
    assert differ.mean() < 1e-3
    np.testing.assert_allclose(encode.project(x), fitted.project(wide), atol=1e-5)


def test_with_x64_indices_are_int64_and_codes_come_from_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(RNG.standard_normal((300, 40)))
        fitted = quantizer("orthogonal", "mean").fit(x)
        encode = adapter.Encoder.of(fitted)
        assert encode.project(x).dtype == jnp.float64
        differ = bits(hn.Codes(encode(x), fitted.n_bits)) != bits(fitted.encode(x))
        assert (np.abs(exact(fitted, np.asarray(x))) <= tolerance(fitted, np.asarray(x)))[differ].all()
        labels = np.arange(300) % 2 * 2**32
        codes = encode(x)
        found = adapter.hamming_topk(codes, codes, 4, n_bits=91, query_labels=labels, database_labels=labels)
        wanted = hn.hamming_topk(codes, codes, 4, query_labels=labels, database_labels=labels)
        assert found.indices.dtype == jnp.int64
        np.testing.assert_array_equal(found.indices, wanted.indices)


def test_an_encoder_passes_a_gradient_to_the_model_and_none_through_the_codes():
    encode = adapter.Encoder.of(hn.BinaryQuantizer(8).fit(floats(50, 4)))
    x = jnp.asarray(floats(20, 4))
    gradient = jax.grad(lambda x: encode.project(x).sum())(x)
    np.testing.assert_allclose(gradient, np.broadcast_to(encode.rotation.sum(0), (20, 4)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        encode(jnp.ones((3, 5)))
    with pytest.raises(hn.NotFittedError):
        adapter.Encoder.of(hn.BinaryQuantizer(8))
    with pytest.raises(TypeError, match="BinaryQuantizer"):
        adapter.Encoder.of(256)


def tables(n: int = 60, labels: np.ndarray | None = None) -> tuple:
    fitted = hn.BinaryQuantizer(33).fit(floats(n, 8))
    return adapter.CodeTable.create(n, fitted, labels=labels), hn.CodeTable(n, fitted, labels=labels)


def test_the_table_goes_the_way_of_the_librarys():
    """Repeated ids, the last of which wins, and rows without a code among them."""
    ours, plain = tables(labels=np.arange(60) % 7)
    step = jax.jit(adapter.CodeTable.update, donate_argnums=0)
    first = ours
    for _ in range(4):
        ids, rows = RNG.integers(0, 50, 30), floats(30, 8)
        ours = step(ours, jnp.asarray(ids), jnp.asarray(rows))
        plain.update(ids, rows)
    assert first.codes.is_deleted()  # the memory was used again
    np.testing.assert_array_equal(ours.codes, plain.codes().data)
    np.testing.assert_array_equal(ours.versions, plain.versions())
    assert int(ours.version) == plain.version
    np.testing.assert_array_equal(ours.ages(), plain.ages())
    ids, exclude, allow = np.arange(40, 60), RNG.integers(-1, 60, (20, 2)), RNG.random((20, 60)) < 0.8
    for options in ({"exclude": exclude, "allow": allow, "max_distance": 15},
                    {"allow": np.packbits(allow, axis=1, bitorder="little")}):  # fmt: skip
        mine = jax.jit(partial(adapter.CodeTable.mine, k=9))
        found, wanted = mine(ours, jnp.asarray(ids), **options), plain.mine(ids, 9, **options)
        np.testing.assert_array_equal(found.distances, wanted.distances)
        np.testing.assert_array_equal(found.indices, wanted.indices)
        assert (found.indices[10:] == -1).all()  # rows without a code


def test_an_id_that_is_no_row_changes_and_finds_nothing():
    """JAX takes a negative index from the end, and moves one that is too large to the last row."""
    update, mine = jax.jit(adapter.CodeTable.update), jax.jit(adapter.CodeTable.mine, static_argnums=2)
    table, _ = tables()
    table = update(table, jnp.arange(60), floats(60, 8))
    after = update(table, jnp.array([-1, 60, 3]), floats(3, 8))
    assert np.flatnonzero((after.codes != table.codes).any(axis=1)).tolist() == [3]
    assert np.flatnonzero(after.versions != table.versions).tolist() == [3]
    assert after.ages(jnp.array([-1, 3, 60, 0])).tolist() == [-1, 0, -1, 1]
    found = mine(after, jnp.array([-1, 60, 59]), 3).indices
    assert (found[:2] == -1).all()
    assert (found[2] >= 0).all()


def test_a_table_is_a_pytree_and_its_update_stops_the_gradient():
    table, _ = tables()
    leaves, shape = jax.tree_util.tree_flatten(table)
    again = jax.tree_util.tree_unflatten(shape, leaves)
    assert (again.n_bits, len(again), len(leaves)) == (33, 60, 5)

    def loss(x):
        return jnp.sum(x**2) + 0 * table.update(jnp.arange(4), x).version

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(jnp.ones((4, 8))), 2 * np.ones((4, 8)))


def test_batches_of_its_neighbours_are_those_of_numpys():
    ours, plain = tables()
    x = floats(60, 8)
    ours = ours.update(jnp.arange(60), x)
    plain.update_codes(range(60), hn.Codes(np.asarray(ours.codes), 33))
    sampler = hn.HardBatchSampler(ours.mine(jnp.arange(60), 10), 6, seed=1)
    np.testing.assert_array_equal(sampler.batches, hn.HardBatchSampler(plain.mine(range(60), 10), 6, seed=1).batches)
