"""The randomised Hadamard rotation of 16 rows side by side: lane i of every vector belongs to row i.

Butterflies then need no shuffles, a row's result does not depend on its neighbours, and eight vectors at a
time go through three levels of the transform between one load and one store.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.vectors import splat

ROWS = 16
_RADICES = ((0,) * 2, (0,) * 4, (0,) * 8)  # tuples tell the compiler their lengths
_I64 = ir.IntType(64)


@intrinsic
def transform_few(typingctx, radix, numbers, first, stride, scales):
    """The unscaled Walsh-Hadamard transform across a few vectors of `ROWS` numbers, in registers.

    Parameters
    ----------
    radix : tuple
        Its length is the number of vectors: 2, 4 or 8.
    numbers : array, of whose dtype the vectors are
    first : address of the first vector
    stride : int64
        Vectors from one to the next.
    scales : address of one number for each vector, `stride` apart, that it is multiplied with first; or 0
    """
    count, is_single = radix.count, numbers.dtype == types.float32

    def codegen(context, builder, signature, args):
        first_at, step, scales_at = args[2:]
        number = ir.FloatType() if is_single else ir.DoubleType()
        size = 4 if is_single else 8
        vector = ir.VectorType(number, ROWS)
        base = builder.inttoptr(first_at, vector.as_pointer())
        places = [builder.gep(base, [builder.mul(_I64(i), step)]) for i in range(count)]
        values = [builder.load(place, align=size) for place in places]
        before = builder.block
        with builder.if_then(builder.icmp_unsigned("!=", scales_at, _I64(0))):
            scalars = builder.inttoptr(scales_at, number.as_pointer())
            scaled = []
            for i, value in enumerate(values):
                factor = builder.load(builder.gep(scalars, [builder.mul(_I64(i), step)]))
                scaled.append(builder.fmul(value, splat(builder, factor, ROWS)))
            inside = builder.block
        merged = []
        for value, product in zip(values, scaled, strict=True):
            phi = builder.phi(vector)
            phi.add_incoming(value, before)
            phi.add_incoming(product, inside)
            merged.append(phi)
        values = merged
        half = 1
        while half < count:
            for i in range(count):
                if not i & half:
                    a, b = values[i], values[i + half]
                    values[i], values[i + half] = builder.fadd(a, b), builder.fsub(a, b)
            half *= 2
        for place, value in zip(places, values, strict=True):
            builder.store(value, place, align=size)
        return context.get_dummy_value()

    at = types.intp
    return types.void(radix, numbers, at, types.int64, at), codegen


@njit(nogil=True, cache=True)
def _transform(two, four, eight, work, scales):
    """Scale and transform every column of work, (width, ROWS)."""
    width = work.shape[0]
    work_at, row_bytes = np.intp(work.ctypes.data), ROWS * work.itemsize
    scales_at = np.intp(scales.ctypes.data)
    done = 1
    while done < width:
        left = width // done
        radix = 8 if left >= 8 else left
        for start in range(0, width, done * radix):
            for j in range(start, start + done):
                scaled_at = scales_at + j * work.itemsize if done == 1 else np.intp(0)
                at = work_at + j * row_bytes
                if radix == 8:
                    transform_few(eight, work, at, done, scaled_at)
                elif radix == 4:
                    transform_few(four, work, at, done, scaled_at)
                else:
                    transform_few(two, work, at, done, scaled_at)
        done *= radix
    if width == 1:
        for lane in range(ROWS):
            work[0, lane] *= scales[0]


def hadamard(rows: np.ndarray, scaled: np.ndarray, thresholds: np.ndarray, out: np.ndarray) -> None:
    """Write z = the first columns of (H S3 H S2 H S1) x - thresholds, block after block; see `_write`."""
    _rotate(*_RADICES, rows, scaled, thresholds, out)


@njit(nogil=True, cache=True)
def _rotate(two, four, eight, rows, scaled, thresholds, out):
    n_blocks, rounds, width = scaled.shape
    work = np.empty((width, ROWS), rows.dtype)
    bits = np.zeros(ROWS, np.int32)
    for start in range(0, rows.shape[0], ROWS):
        n_lanes = min(ROWS, rows.shape[0] - start)
        for block in range(n_blocks):
            work[:] = 0
            for lane in range(n_lanes):
                for j in range(rows.shape[1]):
                    work[j, lane] = rows[start + lane, j]
            for r in range(rounds):
                _transform(two, four, eight, work, scaled[block, r])
            first = block * width
            _write(work, thresholds, first, min(width, len(thresholds) - first), start, n_lanes, bits, out)


@njit(nogil=True, cache=True)
def _write(work, thresholds, first, count, start, n_lanes, bits, out):
    """Write columns first..first+count-1 of z, as numbers or, into a uint8 array, as bits.

    `bits` carries the bits of a byte that a small block leaves to the next one.
    """
    for j in range(count):
        column = first + j
        if out.itemsize > 1:
            for lane in range(n_lanes):
                out[start + lane, column] = work[j, lane] - thresholds[column]
            continue
        place = column & 7
        if place == 0:
            bits[:] = 0
        for lane in range(ROWS):
            bits[lane] |= np.int32(work[j, lane] - thresholds[column] >= 0) << place
        if place == 7 or column == len(thresholds) - 1:
            for lane in range(n_lanes):
                out[start + lane, column >> 3] = bits[lane]
