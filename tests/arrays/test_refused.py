"""What is no usable array is refused; the message names the argument, what came, and what to do."""

import numpy as np
import pytest
from helpers import layouts
from helpers.foreign import CUDA, DLPackArray
from helpers.requirements import need

import hashneg as hn
from hashneg import arrays


@pytest.fixture
def quantizer(backend):
    return hn.BinaryQuantizer(40, seed=3).fit(layouts.matrix())


def test_lists_are_no_embeddings(quantizer):
    for x in ([[1.0] * 17], [1.0], [], (1.0, 2.0)):
        with pytest.raises(TypeError, match=r"^x must be an array .* got (list|tuple|float)"):
            quantizer.encode(x)


@pytest.mark.parametrize("x", [None, 3, 3.5, "text", object(), np.float32(1), np.ndarray, range(3)])
def test_other_objects_are_no_embeddings(x):
    with pytest.raises(TypeError, match=r"^anchors must be an array"):
        arrays.embeddings(x, "anchors")


def test_masked_arrays_are_refused_since_their_mask_would_be_lost(quantizer):
    with pytest.raises(TypeError, match=r"x is a masked array; fill it first"):
        quantizer.encode(np.ma.array(layouts.matrix(), mask=False))


def test_scipy_sparse_matrices_are_refused(quantizer):
    sparse = need("scipy.sparse")
    for x in (sparse.csr_matrix(layouts.matrix()), sparse.coo_array(layouts.matrix())):
        with pytest.raises(TypeError, match=r"x must be an array .* got scipy\.sparse"):
            quantizer.encode(x)


def test_torch_sparse_tensors_are_refused(quantizer):
    x = need("torch").from_numpy(layouts.matrix()).to_sparse()
    with pytest.raises(TypeError, match=r"x is a torch.sparse_coo tensor; make it dense with x.to_dense\(\)"):
        quantizer.encode(x)


def test_torch_objects_that_are_no_tensors_are_refused():
    torch = need("torch")
    for x in (torch.nn.Linear(2, 2), torch.float32, torch.Size([2])):
        with pytest.raises(TypeError, match=r"x must be an array .* got torch"):
            arrays.to_numpy(x, "x")


def test_torch_tensors_of_a_foreign_dtype_are_refused_by_name():
    torch = need("torch")
    with pytest.raises(TypeError, match=r"queries, a torch array of shape \(2, 3\), dtype float8_e4m3fn on cpu"):
        arrays.to_numpy(torch.zeros(2, 3, dtype=torch.float8_e4m3fn), "queries")


def test_torch_tensors_on_another_device_are_refused_by_name(quantizer):
    x = need("torch").zeros(4, 17, device="meta")
    with pytest.raises(RuntimeError, match=r"x is a torch array of shape \(4, 17\), dtype float32 on meta.*move it"):
        quantizer.encode(x)


def test_cuda_arrays_are_refused_by_name_without_a_hidden_copy_to_the_host(quantizer):
    x = DLPackArray(layouts.matrix(), CUDA)
    calls = {
        "x": [lambda: quantizer.encode(x), lambda: quantizer.fit(x), lambda: quantizer.project(x)],
        "data": [lambda: hn.Codes(x, 8), lambda: hn.Codes.from_packbits(x, 8)],
        "queries": [lambda: hn.hamming_topk(x, np.zeros((2, 1), np.uint8), 1)],
        "database": [lambda: hn.hamming_topk(np.zeros((2, 1), np.uint8), x, 1)],
    }
    for name, group in calls.items():
        for call in group:
            with pytest.raises(RuntimeError, match=rf"^{name} is a dlpack array .*DLPack device \(2, 0\).*move it"):
                call()


def test_dlpack_objects_on_the_cpu_are_read(quantizer):
    plain = layouts.matrix()
    np.testing.assert_array_equal(quantizer.encode(DLPackArray(plain)).data, quantizer.encode(plain).data)


def test_jax_tracers_are_refused_under_jit_vmap_and_grad(quantizer):
    jax = need("jax")
    x = jax.numpy.asarray(layouts.matrix())
    for traced in (jax.jit(quantizer.encode), jax.vmap(quantizer.encode), jax.grad(quantizer.encode)):
        with pytest.raises(TypeError, match=r"x is a JAX tracer: .* outside jit, vmap and grad"):
            traced(x)


def test_jax_objects_that_are_no_plain_arrays_are_refused():
    jax = need("jax")
    with pytest.raises(TypeError, match=r"x must be an array .* got jax"):
        arrays.to_numpy(jax.ShapeDtypeStruct((2, 2), "float32"), "x")
    with pytest.raises(TypeError, match=r"x, a jax array .*cannot be read as a NumPy array"):
        arrays.to_numpy(jax.random.key(0), "x")


def test_symbolic_tensorflow_tensors_are_refused_inside_tf_function(quantizer):
    tf = need("tensorflow")
    traced = tf.function(quantizer.encode, autograph=False)
    with pytest.raises(TypeError, match=r"x is a symbolic TensorFlow tensor: call hashneg outside tf.function"):
        traced(tf.constant(layouts.matrix()))
    variable = tf.Variable(layouts.matrix())
    with pytest.raises(TypeError, match="x is a symbolic TensorFlow tensor"):
        tf.function(lambda: quantizer.encode(variable), autograph=False)()


def test_tensorflow_objects_that_are_no_plain_tensors_are_refused():
    tf = need("tensorflow")
    for x in (tf.ragged.constant([[1.0], [2.0, 3.0]]), tf.sparse.from_dense([[1.0]]), tf.TensorArray(tf.float32, 1)):
        with pytest.raises(TypeError, match=r"x must be an array .* got tensorflow"):
            arrays.to_numpy(x, "x")
    with pytest.raises(TypeError, match=r"x, a tensorflow array .*qint8.*cannot be read"):
        arrays.to_numpy(tf.zeros((2, 2), tf.qint8), "x")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_, np.complex64, object, "U3"])
def test_embeddings_must_be_floats(dtype, quantizer):
    with pytest.raises(TypeError, match=r"x must be one of float16, bfloat16, float32, float64, got numpy array"):
        quantizer.encode(np.zeros((4, 17)).astype(dtype))


@pytest.mark.parametrize("shape", [(), (17,), (1, 2, 17), (4, 0)])
def test_embeddings_must_be_a_matrix(shape, framework, quantizer):
    with pytest.raises(ValueError, match=r"x must have shape \(n, d\) with d > 0, got .* array of shape \("):
        quantizer.encode(framework.array(np.zeros(shape, np.float32)))


def test_parts_of_different_width_are_refused():
    with pytest.raises(ValueError, match=r"x mixes rows of \[3, 4\] dimensions"):
        arrays.embeddings([np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)], "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 9, 23])
def test_nan_and_infinity_are_refused_naming_the_first_row(framework, quantizer, value, row):
    x = layouts.matrix()
    x[row, 3] = value
    x[23, 0] = value
    for call in (quantizer.encode, quantizer.project, quantizer.fit, quantizer.partial_fit):
        with pytest.raises(ValueError, match=rf"x holds NaN or infinity, first in row {row}$"):
            call(framework.array(x))


def test_nan_is_named_by_its_row_in_the_whole_matrix_not_in_its_block(backend):
    x = np.ones((4000, 4096), np.float16)
    quantizer = hn.BinaryQuantizer(2, center=None).fit(layouts.matrix(8, 4096))
    x[3901, 4095] = np.nan
    with pytest.raises(ValueError, match=r"first in row 3901$"):
        quantizer.encode(x)


def test_bfloat16_nan_is_seen(quantizer):
    x = need("torch").from_numpy(layouts.matrix()).bfloat16()
    x[5, 1] = float("nan")
    with pytest.raises(ValueError, match=r"first in row 5$"):
        quantizer.encode(x)


def test_hashneg_check_0_removes_the_check_of_values(monkeypatch, quantizer):
    x = layouts.matrix()
    clean = quantizer.encode(x).data
    x[5] = np.nan
    dirty = np.array([[0xFF]], np.uint8)
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    unchecked = quantizer.encode(x).data
    np.testing.assert_array_equal(np.delete(unchecked, 5, axis=0), np.delete(clean, 5, axis=0))
    assert hn.Codes(dirty, 5).data is dirty
    monkeypatch.setenv("HASHNEG_CHECK", "1")
    with pytest.raises(ValueError, match=r"first in row 5$"):
        quantizer.encode(x)
    with pytest.raises(ValueError, match="beyond n_bits=5"):
        hn.Codes(dirty, 5)


class TestIntegers:
    def test_every_integer_dtype_and_sequences_give_int64(self, framework):
        for dtype in (np.int8, np.uint8, np.int16, np.int32, np.int64):
            got = arrays.integers(framework.array(np.array([3, 1], dtype)), "ids", (2,))
            assert got.dtype == np.int64
            assert got.tolist() == [3, 1]
        for sequence in ([3, 1], (3, 1), range(3, 0, -2)):
            assert arrays.integers(sequence, "ids", (None,)).tolist() == [3, 1]
        assert arrays.integers([], "ids", (None,)).shape == (0,)

    def test_floats_bools_and_bfloat16_are_refused(self):
        bfloat16 = np.ones(2, need("ml_dtypes").bfloat16)
        for x in (np.ones(2), np.ones(2, bool), bfloat16, [1.0, 2.0], [True, False], ["a"], [2**70]):
            with pytest.raises(TypeError, match=r"^ids must hold integers"):
                arrays.integers(x, "ids", (None,))

    def test_names_as_labels_get_the_fix(self):
        with pytest.raises(TypeError, match=r"query_labels must hold integers.*numpy.unique\(labels, return_inverse"):
            arrays.integers(np.array(["cat", "dog"]), "query_labels", (2,))

    def test_the_shape_is_checked(self):
        for x, shape in (([1, 2], (3,)), (np.zeros((2, 3), int), (2,)), (np.zeros((2, 3), int), (None, 4))):
            with pytest.raises(ValueError, match=r"^ids must have shape \("):
                arrays.integers(x, "ids", shape)

    def test_uint64_beyond_int64_is_refused_and_not_wrapped(self):
        with pytest.raises(ValueError, match=r"ids holds values above 2\*\*63 - 1"):
            arrays.integers(np.array([2**63], np.uint64), "ids", (1,))
        assert arrays.integers(np.array([2**63 - 1], np.uint64), "ids", (1,)).tolist() == [2**63 - 1]

    def test_jax_does_not_truncate_uint64_unseen(self):
        """jnp.from_dlpack(uint64) without x64 gives uint32: codes stay uint8 on the way out."""
        jnp = need("jax.numpy")
        codes = hn.Codes.from_signs(jnp.ones((2, 128)) * jnp.array([[1], [-1]]))
        assert codes.data.dtype == jnp.uint8
        assert np.asarray(codes.data).tolist() == [[255] * 16, [0] * 16]
