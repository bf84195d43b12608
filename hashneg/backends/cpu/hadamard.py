"""The randomised Hadamard rotation, one row at a time, in a buffer that the first-level cache holds.

A transform of 2**p numbers is p stages of butterflies (a, b) -> (a + b, a - b), whose partners are 1, 2, 4, ...
apart. The stages may come in any order. Where the partners are whole vectors apart, a butterfly is an addition
and a subtraction of vectors; eight vectors go through three such stages between one load and one store. The stages
within a vector come last, so that in the last round only the blocks that give wanted bits go through them.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.matrix import VECTOR_BYTES
from hashneg.backends.cpu.signs import write_row
from hashneg.backends.cpu.vectors import call_llvm, prefetch

_BLOCK = 8  # vectors in registers
_BLOCK_BYTES = _BLOCK * VECTOR_BYTES
_CACHE_LINE = 64
_RADICES = ((0,) * 2, (0,) * 4, (0,) * _BLOCK)  # tuples tell the compiler their lengths
_I64, _I32 = ir.IntType(64), ir.IntType(32)


class _Vectors:
    """Emits IR on vectors of the dtype of `numbers`, at an address and every `step` vectors from there."""

    def __init__(self, builder, numbers, address, step):
        self.builder = builder
        self.number, self.size = (ir.FloatType(), 4) if numbers.dtype == types.float32 else (ir.DoubleType(), 8)
        self.lanes = VECTOR_BYTES // self.size
        self.kind = ir.VectorType(self.number, self.lanes)
        self.base, self.step = builder.inttoptr(address, self.kind.as_pointer()), step

    def _place(self, i):
        return self.builder.gep(self.base, [self.builder.mul(_I64(i), self.step)])

    def load(self, count):
        return [self.builder.load(self._place(i), align=self.size) for i in range(count)]

    def store(self, values):
        for i, value in enumerate(values):
            self.builder.store(value, self._place(i), align=self.size)

    def across(self, values):
        """The stages across vectors: len(values) is a power of two."""
        half = 1
        while half < len(values):
            for i in range(len(values)):
                if not i & half:
                    a, b = values[i], values[i + half]
                    values[i], values[i + half] = self.builder.fadd(a, b), self.builder.fsub(a, b)
            half *= 2
        return values

    def within(self, values):
        """The stages within every vector: a lane becomes its partner plus or minus itself, exactly rounded."""
        multiply_add = f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        ternary = ir.FunctionType(self.kind, [self.kind] * 3)
        half = 1
        while half < self.lanes:
            partner = ir.Constant(ir.VectorType(_I32, self.lanes), [i ^ half for i in range(self.lanes)])
            sign = ir.Constant(
                self.kind, [ir.Constant(self.number, -1.0 if i & half else 1.0) for i in range(self.lanes)]
            )
            for i, value in enumerate(values):
                swapped = self.builder.shuffle_vector(value, ir.Constant(self.kind, ir.Undefined), partner)
                values[i] = call_llvm(self.builder, multiply_add, ternary, [value, sign, swapped])
            half *= 2
        return values


@intrinsic
def transform_across(typingctx, radix, numbers, first, stride):
    """The stages across a few vectors, in place.

    Parameters
    ----------
    radix : tuple
        Its length is the number of vectors: 2, 4 or 8.
    numbers : array, of whose dtype the vectors are
    first : address of the first vector
    stride : int64
        Vectors from one to the next.
    """

    def codegen(context, builder, signature, args):
        vectors = _Vectors(builder, numbers, args[2], args[3])
        vectors.store(vectors.across(vectors.load(radix.count)))
        return context.get_dummy_value()

    return types.void(radix, numbers, types.intp, types.int64), codegen


@intrinsic
def transform_block(typingctx, numbers, first, scales):
    """All stages of `_BLOCK` neighbouring vectors, in place, then a multiplication with as many scales."""

    def codegen(context, builder, signature, args):
        vectors, scales = (_Vectors(builder, numbers, at, _I64(1)) for at in args[1:])
        values = vectors.across(vectors.within(vectors.load(_BLOCK)))
        vectors.store([builder.fmul(*pair) for pair in zip(values, scales.load(_BLOCK), strict=True)])
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.intp), codegen


def scales_of(signs: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Signs (blocks, rounds, D) as the kernel reads them: what to multiply with before and after every transform.

    (blocks, rounds + 1, width): the first signs; then signs over sqrt(D); and 1 / sqrt(D) at last. Short rows are
    filled with zeros up to the width of a block: the transform of (x, 0) begins with that of x.
    """
    n_blocks, rounds, n = signs.shape
    scales = np.zeros((n_blocks, rounds + 1, max(n, _BLOCK_BYTES // dtype.itemsize)), dtype)
    scales[:, :rounds, :n] = signs
    scales[:, rounds, :n] = 1
    scales[:, 1:] /= np.sqrt(n)
    return scales


def hadamard(rows: np.ndarray, scales: np.ndarray, period: int, thresholds: np.ndarray, out: np.ndarray) -> None:
    """Write z = the first columns of (H S3 H S2 H S1) x - thresholds; see `write_row`.

    `period` is D: z is made of blocks of so many columns, each of its own signs.
    """
    _rotate(*_RADICES, rows, scales, period, thresholds, out)


@njit(nogil=True, cache=True)
def _rotate(two, four, eight, rows, scales, period, thresholds, out):
    n_rows, dim = rows.shape
    n_blocks, n_scales, width = scales.shape
    unaligned = np.empty(n_blocks * period + width + _CACHE_LINE // rows.itemsize, rows.dtype)
    z = unaligned[-np.intp(unaligned.ctypes.data) % _CACHE_LINE // rows.itemsize :]
    z_at, scales_at = np.intp(z.ctypes.data), np.intp(scales.ctypes.data)
    for i in range(n_rows):
        next_at = np.intp(rows.ctypes.data) + (i + 1) * dim * rows.itemsize  # of no row, harmless
        for byte in range(0, dim * rows.itemsize, _CACHE_LINE):
            prefetch(next_at + byte)
        for block in range(n_blocks):
            first = block * period
            part = z[first : first + width]
            row, scale = rows[i], scales[block, 0]
            for j in range(dim):
                part[j] = row[j] * scale[j]
            part[dim:] = 0
            wanted = min(period, len(thresholds) - first)
            for r in range(1, n_scales):
                scale_at = scales_at + (block * n_scales + r) * width * rows.itemsize
                last = wanted if r == n_scales - 1 else width
                _transform(two, four, eight, z, z_at + first * rows.itemsize, width, scale_at, last)
        write_row(z, thresholds, out[i])


@njit(nogil=True, cache=True)
def _transform(two, four, eight, numbers, at, width, scales_at, wanted):
    """Transform the `width` numbers at an address and scale them; only the first `wanted` are finished."""
    stride = width * numbers.itemsize // VECTOR_BYTES  # from here in vectors
    n_vectors = stride
    while stride > _BLOCK:
        radix = min(8, stride // _BLOCK)
        stride //= radix
        for start in range(0, n_vectors, radix * stride):
            for j in range(start, start + stride):
                if radix == 8:
                    transform_across(eight, numbers, at + j * VECTOR_BYTES, stride)
                elif radix == 4:
                    transform_across(four, numbers, at + j * VECTOR_BYTES, stride)
                else:
                    transform_across(two, numbers, at + j * VECTOR_BYTES, stride)
    for byte in range(0, wanted * numbers.itemsize, _BLOCK_BYTES):
        transform_block(numbers, at + byte, scales_at + byte)
