"""Codes and the bit conventions of other libraries."""

import numpy as np
import pytest
from helpers import strategies
from helpers.requirements import need
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn

BITORDERS = ["little", "big"]


def signs_of(bits: np.ndarray) -> np.ndarray:
    return np.where(bits, 1, -1).astype(np.int8)


@given(bits=strategies.bit_matrices())
def test_signs_survive_the_round_trip(bits):
    signs = signs_of(bits)
    codes = hn.Codes.from_signs(signs)
    assert codes.n_bits == bits.shape[1]
    assert codes.data.shape == (len(bits), -(-bits.shape[1] // 8))
    back = codes.to_signs()
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, signs)


@given(bits=strategies.bit_matrices())
def test_codes_equal_numpy_packbits(bits):
    codes = hn.Codes.from_signs(signs_of(bits))
    np.testing.assert_array_equal(codes.data, np.packbits(bits, axis=1, bitorder="little"))
    for order in BITORDERS:
        packed = np.packbits(bits, axis=1, bitorder=order)
        np.testing.assert_array_equal(codes.to_packbits(order), packed)
        np.testing.assert_array_equal(hn.Codes.from_packbits(packed, bits.shape[1], bitorder=order).data, codes.data)


@given(bits=strategies.bit_matrices(), order=st.sampled_from(BITORDERS), seed=st.integers(0, 99))
def test_dirty_padding_of_foreign_codes_is_refused(bits, order, seed):
    """Clearing it would hide a wrong order or a wrong number of bits."""
    n_bits = bits.shape[1]
    noise = np.random.default_rng(seed).random((len(bits), -n_bits % 8)) < 0.5
    dirty = np.packbits(np.concatenate([bits, noise], axis=1), axis=1, bitorder=order)
    before = dirty.copy()
    if noise.any():
        with pytest.raises(ValueError, match=f"data has bits set beyond n_bits={n_bits} under bitorder='{order}'"):
            hn.Codes.from_packbits(dirty, n_bits, bitorder=order)
    else:
        codes = hn.Codes.from_packbits(dirty, n_bits, bitorder=order)
        np.testing.assert_array_equal(codes.to_signs(), signs_of(bits))
    np.testing.assert_array_equal(dirty, before)


def test_numpy_packbits_taken_for_low_bit_first_is_refused():
    packed = np.packbits(np.ones((3, 20), bool), axis=1)
    with pytest.raises(ValueError, match=r"numpy\.packbits and sentence-transformers put the first bit high"):
        hn.Codes.from_packbits(packed, 20)


def test_dirty_padding_is_refused_where_memory_is_shared(framework):
    dirty = framework.array(np.array([[0, 0b0001_1111], [0, 0b0010_0000]], np.uint8))
    with pytest.raises(ValueError, match=r"data has bits set beyond n_bits=13, .*Codes.from_packbits"):
        hn.Codes(dirty, 13)
    assert len(hn.Codes(dirty, 14)) == 2


def test_bit_i_is_bit_i_modulo_8_of_byte_i_div_8():
    for i in range(19):
        signs = -np.ones((1, 19), np.int8)
        signs[0, i] = 1
        data = hn.Codes.from_signs(signs).data[0]
        assert data[i // 8] == 1 << (i % 8)
        assert np.count_nonzero(data) == 1


def test_the_last_byte_of_big_endian_codes_is_not_misaligned():
    """np.packbits pads at the low end under "big": five bits lie in the high end of the byte."""
    codes = hn.Codes.from_packbits(np.array([[0b1011_0000]], np.uint8), 5, bitorder="big")
    assert codes.data.tolist() == [[0b0_1101]]
    assert codes.to_packbits("big").tolist() == [[0b1011_0000]]


@given(bits=strategies.bit_matrices())
def test_int8_codes_of_sentence_transformers_do_not_invert_one_bit_in_eight(bits):
    """Their "binary" precision is the "ubinary" byte - 128, so the high bit of each byte arrives inverted."""
    ubinary = np.packbits(bits, axis=1)
    binary = (ubinary.astype(np.int16) - 128).astype(np.int8)
    codes = hn.Codes.from_packbits(binary, bits.shape[1], bitorder="big")
    np.testing.assert_array_equal(codes.to_signs(), signs_of(bits))
    expected = hn.Codes.from_packbits(ubinary, bits.shape[1], bitorder="big")
    np.testing.assert_array_equal(codes.data, expected.data)


def test_int8_codes_come_in_from_every_framework(framework):
    bits = np.random.default_rng(0).random((6, 24)) < 0.5
    binary = (np.packbits(bits, axis=1).astype(np.int16) - 128).astype(np.int8)
    codes = hn.Codes.from_packbits(framework.array(binary), 24, bitorder="big")
    np.testing.assert_array_equal(framework.to_numpy(codes.to_signs()), signs_of(bits))


def test_int8_codes_are_not_taken_for_ready_codes():
    with pytest.raises(TypeError, match=r"data must be uint8, got numpy array .*int8"):
        hn.Codes(np.zeros((2, 3), np.int8), 24)
    with pytest.raises(TypeError, match=r"queries must be Codes or a uint8 array.*Codes.from_packbits"):
        hn.hamming_topk(np.zeros((2, 3), np.int8), np.zeros((2, 3), np.int8), 1)


def test_faiss_and_numpy_little_agree():
    faiss = need("faiss")
    x = np.random.default_rng(1).standard_normal((40, 72)).astype(np.float32)
    packed = np.empty((40, 9), np.uint8)
    faiss.fvecs2bitvecs(faiss.swig_ptr(x), faiss.swig_ptr(packed), 72, 40)
    np.testing.assert_array_equal(hn.Codes.from_signs(x).data, packed)


class TestSigns:
    def test_minus_zero_counts_as_zero(self, framework):
        codes = hn.Codes.from_signs(framework.array(np.array([[-0.0, 0.0, -1.0]], np.float32)))
        assert framework.to_numpy(codes.to_signs()).tolist() == [[1, 1, -1]]

    def test_nan_is_refused_since_nan_compares_false(self, framework):
        x = np.ones((5, 3), np.float32)
        x[3, 1] = np.nan
        with pytest.raises(ValueError, match=r"x holds NaN or infinity, first in row 3$"):
            hn.Codes.from_signs(framework.array(x))

    def test_the_smallest_negative_numbers_are_negative(self):
        for dtype in (np.float16, np.float32, np.float64):
            tiny = np.nextafter(dtype(0), dtype(-1))
            assert hn.Codes.from_signs(np.array([[tiny, -tiny]], dtype)).to_signs().tolist() == [[-1, 1]]
        bfloat16 = need("ml_dtypes").bfloat16
        x = np.array([[-1e-40, 1e-40, -2.0]], bfloat16)
        assert hn.Codes.from_signs(x).to_signs().tolist() == [[-1, 1, -1]]

    @pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64])
    def test_every_signed_dtype_is_taken(self, dtype):
        x = np.array([[3, -1, 0], [-4, 5, -6]], dtype)
        assert hn.Codes.from_signs(x).to_signs().tolist() == [[1, -1, 1], [-1, 1, -1]]

    @pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint32])
    def test_bits_as_bool_or_unsigned_are_refused_since_every_one_would_be_1(self, dtype, framework):
        x = framework.array(np.array([[1, 0, 1]], dtype))
        with pytest.raises(TypeError, match=r"x must be of a signed dtype, got .*Codes.from_packbits\(numpy.packbits"):
            hn.Codes.from_signs(x)

    @pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float16])
    def test_0_1_input_warns_that_the_sign_collapses_it(self, dtype):
        with pytest.warns(UserWarning, match="no negative value, so every bit of the codes is 1") as caught:
            hn.Codes.from_signs(np.array([[1, 0, 1], [0, 0, 1]], dtype))
        assert caught[0].filename == __file__

    def test_positive_values_without_zeros_do_not_warn(self):
        assert hn.Codes.from_signs(np.ones((2, 3))).to_signs().tolist() == [[1] * 3] * 2
        assert len(hn.Codes.from_signs(np.empty((0, 3)))) == 0
        assert len(hn.Codes.from_signs(np.empty((0, 3), np.int8))) == 0

    @pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2), (2, 0)])
    @pytest.mark.parametrize("dtype", [np.int8, np.float32])
    def test_the_shape_is_checked(self, shape, dtype):
        with pytest.raises(ValueError, match=r"x must have shape \(n, n_bits\) with n_bits > 0"):
            hn.Codes.from_signs(np.ones(shape, dtype))

    def test_lists_complex_and_text_are_refused(self):
        for x in ([[1.0, -1.0]], np.ones((2, 2), complex), np.array([["a"]])):
            with pytest.raises(TypeError, match=r"^x must be"):
                hn.Codes.from_signs(x)

    def test_more_rows_than_a_block_are_packed_alike(self):
        x = np.random.default_rng(5).standard_normal((40_000, 3)).astype(np.float32)
        np.testing.assert_array_equal(hn.Codes.from_signs(x).to_signs() > 0, x >= 0)


class TestArguments:
    @pytest.mark.parametrize("make", [hn.Codes, hn.Codes.from_packbits])
    def test_the_width_must_fit_n_bits(self, make, framework):
        for shape, n_bits in (((4, 2), 8), ((4, 2), 17), ((4,), 8), ((4, 1, 1), 8), ((4, 0), 1)):
            with pytest.raises(ValueError, match=r"data must have shape \(n, \d\) for n_bits=\d+, got .* of shape \("):
                make(framework.array(np.zeros(shape, np.uint8)), n_bits)

    @pytest.mark.parametrize("make", [hn.Codes, hn.Codes.from_packbits])
    def test_n_bits_must_be_a_positive_integer(self, make):
        data = np.zeros((2, 1), np.uint8)
        for n_bits in (0, -3):
            with pytest.raises(ValueError, match=f"n_bits must be at least 1, got {n_bits}"):
                make(data, n_bits)
        for n_bits in (8.0, "8", True, None):
            with pytest.raises(TypeError, match="n_bits must be an integer"):
                make(data, n_bits)
        assert make(data, np.int64(8)).n_bits == 8

    @pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.uint16, np.float32])
    def test_only_bytes_are_codes(self, dtype, framework):
        data = framework.array(np.zeros((2, 1), dtype))
        with pytest.raises(TypeError, match="data must be uint8"):
            hn.Codes(data, 8)
        with pytest.raises(TypeError, match="data must be uint8 or int8"):
            hn.Codes.from_packbits(data, 8)

    def test_bfloat16_is_not_taken_for_bytes(self):
        with pytest.raises(TypeError, match=r"data must be uint8, got .*bfloat16"):
            hn.Codes(np.zeros((2, 1), need("ml_dtypes").bfloat16), 8)

    def test_bitorder_is_checked(self):
        codes = hn.Codes(np.zeros((2, 1), np.uint8), 8)
        for call in (codes.to_packbits, lambda order: hn.Codes.from_packbits(codes.data, 8, order)):
            with pytest.raises(ValueError, match=r"bitorder must be one of \['little', 'big'\], got 'middle'"):
                call("middle")
            with pytest.raises(TypeError, match="bitorder must be one of"):
                call(1)

    def test_strided_and_broadcast_codes_are_read_in_order(self):
        wide = np.arange(48, dtype=np.uint8).reshape(6, 8)
        for view in (
            wide[::2, ::2],
            wide[::-1, :4],
            np.asfortranarray(wide[:, :4]),
            np.broadcast_to(wide[1, :4], (3, 4)),
        ):
            codes = hn.Codes(view, 32)
            np.testing.assert_array_equal(codes.host, view)
            np.testing.assert_array_equal(codes.to_packbits(), view)
            np.testing.assert_array_equal(hn.Codes.from_packbits(view, 32).data, view)
