"""TensorFlow: packing, search, encoder, table, tf.data and the Keras callback, eagerly and compiled by XLA."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.projections import bits, exact, quantizer, tolerance
from helpers.requirements import need
from helpers.search_problems import Problem, assert_same, brute_force_topk, give_exclusions, make_bits

import hashneg as hn

tf = need("tensorflow")
keras = need("keras")

from hashneg.adapters import tensorflow as adapter  # noqa: E402
from hashneg.hamming import TopK  # noqa: E402

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def compiled(function):
    return tf.function(function, jit_compile=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64"])
def test_packing_equals_numpys(dtype):
    for shape in [(0, 5), (1, 1), (7, 8), (2, 3, 65)]:
        values = 3 * floats(*shape)
        values[..., ::3] = 0  # counts as positive
        x = tf.cast(values, dtype)
        wanted = np.packbits(tf.cast(x, tf.float32).numpy() >= 0, axis=-1, bitorder="little")
        packed = adapter.pack_signs(x)
        assert packed.dtype == tf.uint8
        np.testing.assert_array_equal(packed.numpy(), wanted)


def test_packing_refuses_what_has_no_sign():
    for x in (tf.ones((2, 2), tf.bool), tf.ones((2, 2), tf.uint8)):
        with pytest.raises(TypeError, match="signed"):
            adapter.pack_signs(x)
    with pytest.raises(ValueError, match="n_bits"):
        adapter.pack_signs(tf.ones((2, 0)))


SEARCHES = [  # exclusions, layout, (n, nq, n_bits, k), metric
    ({"query_ids", "labels", "exclude"}, "few codes", (0, 3, 9, 2), "hamming"),
    ({"labels", "allow each"}, "all equal", (41, 5, 33, 50), "hamming"),
    ({"query_ids", "exclude", "allow packed"}, "random", (4097, 3, 64, 7), "projected"),
    ({"exclude all", "allow packed each"}, "clustered", (45, 4, 7, 4), "hamming"),
    ({"allow shared"}, "farthest first", (700, 300, 131, 3), "hamming"),
    (set(), "random", (9, 0, 8, 1), "projected"),
]


@pytest.mark.parametrize(("names", "layout", "sizes", "metric"), SEARCHES)
def test_search_equals_brute_force(names, layout, sizes, metric):
    n, nq, n_bits, k = sizes
    queries, database = make_bits(layout, nq, n, n_bits, np.random.default_rng(5))
    problem = Problem(queries, database, np.ones((nq, n), bool))
    give_exclusions(problem, names, np.random.default_rng(6))
    q, x = (tf.constant(codes.data) for codes in problem.codes)
    limit = n_bits // 2
    found = adapter.hamming_topk(q, x, k, n_bits=n_bits, max_distance=limit, metric=metric, **problem.arguments)
    assert_same(TopK(*(column.numpy() for column in found)), brute_force_topk(problem, k, limit, metric))


def test_bits_beyond_n_bits_count_for_nothing():
    codes = tf.constant([[0b00000101], [0b11111101]], tf.uint8)
    assert adapter.hamming_topk(codes, codes, 2, n_bits=3).distances.numpy().tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("jit", [False, True])
def test_search_traces_without_knowing_the_number_of_rows(jit):
    def nearest(x, allow):
        codes = adapter.pack_signs(tf.tanh(x))
        ids = tf.range(tf.shape(x)[0])
        found = adapter.hamming_topk(codes, codes, 4, n_bits=20, query_ids=ids, allow=allow, max_distance=9)
        return found.distances, found.indices

    signature = [tf.TensorSpec([None, 20]), tf.TensorSpec([None], tf.bool)]
    traced = tf.function(nearest, input_signature=signature, jit_compile=jit)
    for n in (7, 300):
        x, allow = floats(n, 20), RNG.random(n) < 0.7
        codes = hn.Codes.from_signs(x)
        wanted = hn.hamming_topk(codes, codes, 4, query_ids=range(n), allow=allow, max_distance=9)
        for got, want in zip(traced(x, allow), wanted, strict=True):
            np.testing.assert_array_equal(got.numpy(), want)


def test_wrong_arguments_are_refused():
    codes = adapter.pack_signs(floats(4, 16))
    for change, error, words in [
        ({"n_bits": 25}, ValueError, "n_bits=25"),
        ({"query_ids": tf.zeros(3, tf.int64)}, ValueError, "query_ids"),
        ({"exclude": tf.zeros((4, 1))}, TypeError, "exclude"),
        ({"query_labels": tf.zeros(4, tf.int64)}, ValueError, "database_labels is missing"),
        ({"allow": tf.ones(5, tf.bool)}, ValueError, "allow"),
        ({"allow": tf.ones(4)}, TypeError, "allow"),
        ({"metric": "cosine"}, ValueError, "metric"),
    ]:
        with pytest.raises(error, match=words):
            adapter.hamming_topk(codes, codes, 1, **change)
    with pytest.raises(TypeError, match="uint8"):
        adapter.hamming_topk(tf.cast(codes, tf.int32), codes, 1)
    with pytest.raises(ValueError, match="width"):
        adapter.hamming_topk(codes[0], codes, 1)


@pytest.mark.parametrize(
    ("rotation", "dtype"),
    [("orthogonal", "float32"), ("gaussian", "bfloat16"), ("hadamard", "float16"), ("itq", "float64"),
     ("identity", "float32")],
)  # fmt: skip
def test_an_encoder_gives_the_quantizers_codes(rotation, dtype):
    """But for bits within rounding of their threshold, by the bound of the design."""
    x = tf.cast(RNG.standard_normal((300, 40)), dtype)
    wide = tf.cast(x, tf.float64 if dtype == "float64" else tf.float32).numpy()
    fitted = quantizer(rotation, "median").fit(x)
    encode = adapter.Encoder(fitted)
    differ = bits(hn.Codes(compiled(encode)(x), fitted.n_bits)) != bits(fitted.encode(x))
    assert (np.abs(exact(fitted, wide)) <= tolerance(fitted, wide))[differ].all()
    assert differ.mean() < 1e-3
    np.testing.assert_allclose(encode.project(x).numpy(), fitted.project(wide), atol=1e-5)
    assert encode.project(x).dtype == (tf.float64 if dtype == "float64" else tf.float32)


def test_an_encoder_passes_a_gradient_to_the_model():
    encode = adapter.Encoder(hn.BinaryQuantizer(8).fit(floats(50, 4)))
    x = tf.constant(floats(20, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(encode.project(x))
    wanted = np.broadcast_to(encode.rotation.numpy().sum(0), (20, 4))
    np.testing.assert_allclose(tape.gradient(total, x).numpy(), wanted, rtol=1e-5)
    assert not encode.trainable_variables
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        encode(tf.ones((3, 5)))
    with pytest.raises(hn.NotFittedError):
        adapter.Encoder(hn.BinaryQuantizer(8))
    with pytest.raises(TypeError, match="BinaryQuantizer"):
        adapter.Encoder(256)


def tables(n: int = 60, labels: np.ndarray | None = None) -> tuple:
    fitted = hn.BinaryQuantizer(33).fit(floats(n, 8))
    return adapter.CodeTable(n, fitted, labels=labels), hn.CodeTable(n, fitted, labels=labels)


@pytest.mark.parametrize("jit", [False, True])
def test_the_table_goes_the_way_of_the_librarys(jit):
    """Repeated ids, the last of which wins, and rows without a code among them."""
    ours, plain = tables(labels=np.arange(60) % 7)
    step = tf.function(ours.update, jit_compile=jit)
    for _ in range(4):
        ids, rows = RNG.integers(0, 50, 30), floats(30, 8)
        step(tf.constant(ids), tf.constant(rows))
        plain.update(ids, rows)
    np.testing.assert_array_equal(ours.codes.numpy(), plain.codes().data)
    np.testing.assert_array_equal(ours.versions.numpy(), plain.versions())
    assert int(ours.version) == plain.version
    np.testing.assert_array_equal(ours.ages().numpy(), plain.ages())
    ids, exclude, allow = np.arange(40, 60), RNG.integers(-1, 60, (20, 2)), RNG.random((20, 60)) < 0.8
    for options in ({"exclude": exclude, "allow": allow, "max_distance": 15},
                    {"allow": np.packbits(allow, axis=1, bitorder="little")}):  # fmt: skip
        found, wanted = ours.mine(ids, 9, **options), plain.mine(ids, 9, **options)
        assert_same(TopK(*(column.numpy() for column in found)), wanted)
        assert (found.indices.numpy()[10:] == -1).all()  # rows without a code


def test_an_id_that_is_no_row_changes_and_finds_nothing():
    """XLA would move it to the first or last row when it reads, TensorFlow raises."""
    table, _ = tables()
    table.update(tf.range(60), floats(60, 8))
    before = table.codes.numpy()
    for update in (table.update, tf.function(table.update)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="ids must be rows"):
            update(tf.constant([3, 60]), tf.constant(floats(2, 8)))
        np.testing.assert_array_equal(table.codes.numpy(), before)
        assert int(table.version) == 1
    compiled(table.update)(tf.constant([-1, 60, 3]), tf.constant(floats(3, 8)))
    assert np.flatnonzero((table.codes.numpy() != before).any(axis=1)).tolist() == [3]
    found = table.mine([-1, 60, 59], 3).indices.numpy()
    assert (found[:2] == -1).all()
    assert (found[2] >= 0).all()
    assert (table.ages([-1, 60]).numpy() == -1).all()


def test_a_checkpoint_holds_the_table(tmp_path):
    table, _ = tables()
    table.update(tf.range(60), floats(60, 8))
    path = tf.train.Checkpoint(table=table).save(tmp_path / "step")
    other, _ = tables()
    tf.train.Checkpoint(table=other).restore(path).assert_consumed()
    x = floats(3, 8)
    for each in (table, other):
        each.update(tf.range(3), x)
    for name in ("codes", "versions", "version"):
        np.testing.assert_array_equal(getattr(other, name).numpy(), getattr(table, name).numpy())


def test_a_pipeline_sees_new_epochs_and_new_neighbours():
    neighbours, x = RNG.integers(0, 60, (60, 5)), floats(60, 3)
    sampler = hn.HardBatchSampler(neighbours, 7)
    batches = adapter.dataset(sampler, {"x": x, "parts": (np.arange(60),)})
    seen = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        if epoch == 2:
            sampler.neighbours = neighbours[::-1].copy()
        seen.append([ids.numpy().tolist() for ids, _ in batches])
        assert seen[-1] == sampler.batches.tolist()
    assert len({str(epoch) for epoch in seen}) == 3
    for ids, rows in batches:
        np.testing.assert_array_equal(rows["x"], x[ids])
        np.testing.assert_array_equal(rows["parts"][0], ids)
    assert batches.cardinality() == len(sampler)
    ids = [ids.numpy().tolist() for ids in adapter.dataset(sampler).skip(2)]
    assert ids == sampler.batches[2:].tolist()
    with pytest.raises(ValueError, match="60 rows"):
        adapter.dataset(sampler, x[:5])
    with pytest.raises(TypeError, match="HardBatchSampler"):
        adapter.dataset([[1, 2]])


def test_a_pipeline_follows_epochs_of_different_lengths():
    labels = np.array([0] * 9 + [1] * 6 + [2] * 5)
    sampler, lengths = hn.HardBatchSampler(RNG.integers(0, 20, (20, 5)), 2, labels=labels), set()
    batches = adapter.dataset(sampler)
    for epoch in range(6):
        sampler.set_epoch(epoch)
        lengths.add(len(sampler))
        assert [ids.numpy().tolist() for ids in batches] == sampler.batches.tolist()
    assert len(lengths) > 1
    assert batches.cardinality() == tf.data.UNKNOWN_CARDINALITY


class Pairs(keras.Model):
    """A layer trained on batches of ids and rows, which writes its embeddings to a table."""

    def __init__(self, table) -> None:
        super().__init__()
        self.layer, self.table, self.seen = keras.layers.Dense(8, kernel_initializer="zeros"), table, []

    def call(self, rows):
        return self.layer(rows) + rows

    def train_step(self, data):
        ids, rows = data
        embeddings = self(rows)
        self.table.update(ids, embeddings)
        if tf.executing_eagerly():
            self.seen.append(ids.numpy().tolist())
        return {"loss": tf.reduce_mean(embeddings)}


@pytest.mark.parametrize("mode", ["compiled", "live", "epoch"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras
def test_keras_fits_on_neighbours_mined_between_epochs(mode):
    """Three epochs of the batches that the library's own table and sampler give."""
    x = floats(60, 8)
    fitted = hn.BinaryQuantizer(64).fit(x)
    table = adapter.CodeTable(60, fitted) if mode == "compiled" else hn.CodeTable(60, fitted, mode=mode)
    sampler = hn.HardBatchSampler(np.full((60, 1), -1), 6, seed=2)
    model = Pairs(table)
    model.compile(jit_compile=mode == "compiled", run_eagerly=mode != "compiled")
    model.fit(
        adapter.dataset(sampler, x),
        epochs=3,
        shuffle=False,
        callbacks=[adapter.MiningCallback(table, sampler, 9)],
        verbose=0,
    )

    plain, wanted, seen = hn.CodeTable(60, fitted, mode="epoch" if mode == "epoch" else "live"), None, []
    for epoch in range(3):
        again = hn.HardBatchSampler(np.full((60, 1), -1) if epoch == 0 else wanted, 6, seed=2)
        again.set_epoch(epoch)
        for ids in again:
            plain.update(ids, x[ids])
            seen.append(ids.tolist())
        if mode == "epoch":
            plain.refresh()
        wanted = plain.mine(np.arange(60), 9).indices
    np.testing.assert_array_equal(sampler.neighbours, wanted)
    if mode == "compiled":
        np.testing.assert_array_equal(table.versions.numpy(), plain.versions())
        assert sampler.epoch == 2
    else:
        assert model.seen[-len(seen) :] == seen  # Keras may build the model with a batch first


def test_a_callback_refuses_a_sampler_of_another_size():
    table, _ = tables()
    with pytest.raises(ValueError, match="60 rows"):
        adapter.MiningCallback(table, hn.HardBatchSampler(np.full((5, 1), -1), 2))
