"""Where the layout allows it, memory is shared and nothing is copied."""

import tracemalloc

import numpy as np
import pytest
from helpers.requirements import need

import hashneg as hn
from hashneg import arrays


def pointer(x: np.ndarray) -> int:
    return x.__array_interface__["data"][0]


def peak_of(call) -> int:
    """Bytes that `call` allocates at its peak, NumPy's included."""
    call()  # the first call imports and compiles
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.int64])
def test_numpy_arrays_and_views_are_shared(dtype):
    x = np.ones((8, 6), dtype)
    for view in (x, x[::2], x.T, x[::-1], np.broadcast_to(x[0], (5, 6))):
        got = arrays.to_numpy(view, "x")
        assert np.shares_memory(got, x)
        assert got.strides == view.strides


def test_bfloat16_of_ml_dtypes_is_shared():
    x = np.ones((4, 4), need("ml_dtypes").bfloat16)
    assert np.shares_memory(arrays.to_numpy(x, "x"), x)


def test_torch_tensors_are_shared():
    torch = need("torch")
    for dtype in (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.ones(4, 6, dtype=dtype)
        assert pointer(arrays.to_numpy(x, "x")) == x.data_ptr()
        x[2, 3] = 0  # a write by the owner is seen through the view
        assert arrays.to_numpy(x, "x")[2, 3] == 0
    grown = torch.ones(4, 6, requires_grad=True)
    assert pointer(arrays.to_numpy(grown, "x")) == grown.data_ptr()
    assert pointer(arrays.to_numpy(grown[1:, ::2], "x")) == grown[1:, ::2].data_ptr()


def test_jax_arrays_are_shared():
    jnp = need("jax.numpy")
    for dtype in (jnp.uint8, jnp.float16, jnp.bfloat16, jnp.float32):
        x = jnp.ones((4, 6), dtype)
        assert pointer(arrays.to_numpy(x, "x")) == x.unsafe_buffer_pointer()


def test_tensorflow_tensors_are_shared():
    tf = need("tensorflow")
    for dtype in (tf.uint8, tf.float16, tf.float32, tf.float64):
        x = tf.ones((4, 6), dtype)
        assert pointer(arrays.to_numpy(x, "x")) == pointer(np.asarray(memoryview(x)))


def test_other_dlpack_arrays_are_shared():
    x = np.ones((4, 6), np.float32)
    foreign = need("array_api_strict").asarray(x, copy=False)
    assert np.shares_memory(arrays.to_numpy(foreign, "x"), x)


def test_contiguous_float_blocks_are_views():
    x = np.random.default_rng(0).standard_normal((100, 8), dtype=np.float32)
    rows = arrays.embeddings(x, "x")
    assert rows.in_memory is x
    assert np.shares_memory(rows.block(20, 50), x)


def test_codes_share_the_memory_of_their_data(framework):
    packed = np.arange(12, dtype=np.uint8).reshape(4, 3)
    x = framework.array(packed)
    codes = hn.Codes(x, 24)
    assert codes.data is x
    assert np.shares_memory(codes.host, arrays.to_numpy(x, "x"))


def test_taking_codes_in_allocates_nothing_of_their_size(framework):
    x = framework.array(np.zeros((1 << 20, 4), np.uint8))
    assert peak_of(lambda: hn.Codes(x, 32)) < 64 << 10


def test_encoding_allocates_blocks_and_the_codes_only(backend):
    x = np.random.default_rng(0).standard_normal((16384, 1024), dtype=np.float32)  # 64 MiB
    quantizer = hn.BinaryQuantizer(8, center=None).fit(x[:64])
    assert peak_of(lambda: quantizer.encode(x)) < 36 << 20


def test_the_memory_test_sees_a_copy():
    x = np.zeros((1 << 20, 4), np.uint8)
    assert peak_of(lambda: x.copy()) >= x.nbytes
