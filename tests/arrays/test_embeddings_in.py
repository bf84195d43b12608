"""Embeddings of every dtype and memory layout are read for what they are."""

import numpy as np
import pytest
from helpers import layouts
from helpers.requirements import need

import hashneg as hn
from hashneg import arrays


@pytest.fixture
def quantizer(backend):
    return hn.BinaryQuantizer(40, seed=3).fit(layouts.matrix())


@pytest.mark.parametrize("make", layouts.ALL)
def test_every_layout_reads_as_the_plain_matrix(make):
    plain = layouts.matrix()
    rows = arrays.embeddings(make(plain), "x")
    assert rows.shape == plain.shape
    for start, stop in ((0, len(plain)), (5, 9), (3, 3)):
        block = rows.block(start, stop)
        assert block.flags.c_contiguous
        assert block.dtype == rows.dtype
        np.testing.assert_array_equal(block, plain[start:stop])
    ids = np.array([7, 0, 7, len(plain) - 1])
    np.testing.assert_array_equal(rows.take(ids), plain[ids])


@pytest.mark.parametrize("make", layouts.ALL)
def test_every_layout_gives_the_codes_of_the_plain_matrix(make, quantizer):
    plain = layouts.matrix()
    expected = quantizer.encode(plain).data
    got = quantizer.encode(make(plain))
    np.testing.assert_array_equal(np.asarray(got.data), expected)


def test_float64_is_not_rounded_to_float32():
    x = np.array([[1.0, 1e-300]])
    assert arrays.embeddings(x, "x").block(0, 1).dtype == np.float64
    assert arrays.embeddings(x, "x").block(0, 1)[0, 1] == 1e-300


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_half_precision_number_is_widened_exactly(name):
    half = np.float16 if name == "float16" else need("ml_dtypes").bfloat16
    every = np.arange(2**16, dtype=np.uint16).view(half)
    every = every[np.isfinite(every.astype(np.float32))]
    block = arrays.embeddings(every[:, None], "x").block(0, len(every))
    assert block.dtype == np.float32
    np.testing.assert_array_equal(block[:, 0].view(np.uint32), every.astype(np.float32).view(np.uint32))


def test_zero_rows_give_zero_codes_of_the_right_width(framework, quantizer):
    x = framework.array(np.empty((0, 17), np.float32))
    codes = quantizer.encode(x)
    assert len(codes) == 0
    assert framework.to_numpy(codes.data).shape == (0, 5)
    z = framework.to_numpy(quantizer.project(x))
    assert z.shape == (0, 40)
    assert z.dtype == np.float32


def test_broadcast_rows_of_stride_zero_are_read_as_repeated_rows(quantizer):
    row = layouts.matrix()[:1]
    expected = np.repeat(quantizer.encode(row).data, 6, axis=0)
    np.testing.assert_array_equal(quantizer.encode(np.broadcast_to(row, (6, 17))).data, expected)
    torch = need("torch")
    np.testing.assert_array_equal(quantizer.encode(torch.from_numpy(row).expand(6, 17)).data, expected)
    half = torch.from_numpy(row).bfloat16().expand(6, 17)
    np.testing.assert_array_equal(quantizer.encode(half).data, expected)


def test_memory_maps_are_read_in_place(tmp_path, quantizer):
    plain = layouts.matrix()
    for dtype in (np.float16, np.float32, np.dtype(np.float32).newbyteorder(), np.dtype(np.float64).newbyteorder()):
        np.save(tmp_path / "x.npy", plain.astype(dtype))
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert isinstance(mapped, np.memmap)
        codes = quantizer.encode(mapped)
        assert type(codes.data) is np.ndarray
        np.testing.assert_array_equal(codes.data, quantizer.encode(plain).data)
        assert arrays.embeddings(mapped, "x").in_memory is None


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_numpy_matrices_are_read_as_arrays(quantizer):
    plain = layouts.matrix()
    codes = quantizer.encode(np.matrix(plain))
    assert type(codes.data) is np.ndarray
    np.testing.assert_array_equal(codes.data, quantizer.encode(plain).data)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.float16, np.float64])
def test_byte_swapped_arrays_become_native_and_keep_their_values(dtype):
    x = np.arange(300).astype(dtype)
    swapped = x.astype(x.dtype.newbyteorder())
    got = arrays.to_numpy(swapped, "x")
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, x)


def test_several_arrays_are_read_as_one(quantizer):
    plain = layouts.matrix()
    parts = [plain[:5], plain[5:5], plain[5:].astype(np.float16)]
    rows = arrays.embeddings(parts, "x")
    assert rows.shape == plain.shape
    np.testing.assert_array_equal(rows.block(3, 8), plain[3:8])
    np.testing.assert_array_equal(rows.take(np.array([20, 1, 5, 4])), plain[[20, 1, 5, 4]])
    np.testing.assert_array_equal(quantizer.encode(parts).data, quantizer.encode(plain).data)


def test_several_arrays_give_the_framework_of_the_first(framework, quantizer):
    plain = layouts.matrix()
    codes = quantizer.encode([framework.array(plain[:5]), framework.array(plain[5:])])
    np.testing.assert_array_equal(framework.to_numpy(codes.data), quantizer.encode(plain).data)


def test_inputs_are_never_written_to(framework, backend):
    plain = layouts.matrix()
    x = framework.array(plain)
    quantizer = hn.BinaryQuantizer(40).fit(x)
    quantizer.encode(x)
    quantizer.project(x)
    hn.Codes.from_signs(x).to_signs()
    np.testing.assert_array_equal(framework.to_numpy(x), plain)
    packed = np.arange(10, dtype=np.uint8).reshape(5, 2)
    for order in ("little", "big"):
        data = framework.array(packed)
        hn.Codes.from_packbits(data, 16, bitorder=order).to_packbits("big")
        np.testing.assert_array_equal(framework.to_numpy(data), packed)


def test_normalised_blocks_have_unit_length_and_leave_zero_rows():
    x = layouts.matrix() * np.float32(1e-20)
    x[4] = 0
    block = arrays.embeddings(x, "x").normalize().block(2, 9)
    lengths = np.linalg.norm(block.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 2), 1, rtol=1e-6)
    assert not block[2].any()


@pytest.mark.parametrize(
    ("dtype", "itemsize"), [(np.float16, 2), (np.float32, 4), (np.float64, 8)], ids=["half", "single", "double"]
)
def test_itemsize_is_that_of_the_stored_numbers(dtype, itemsize):
    rows = arrays.embeddings(layouts.matrix().astype(dtype), "x")
    assert rows.itemsize == itemsize
    assert (rows.in_memory is None) == (itemsize == 2)
