"""A row less its thresholds: as numbers, or as bits, 16 of them at a time."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

_AT_A_TIME = 16


@intrinsic
def _not_below(typingctx, numbers, values, levels):
    """Bit i of a uint16 is 1 where values[i] - levels[i] >= 0; two addresses, and an array of the dtype."""

    def codegen(context, builder, signature, args):
        number, size = (ir.FloatType(), 4) if numbers.dtype == types.float32 else (ir.DoubleType(), 8)
        vector = ir.VectorType(number, _AT_A_TIME)
        value, level = (builder.load(builder.inttoptr(at, vector.as_pointer()), align=size) for at in args[1:])
        zero = ir.Constant(vector, [ir.Constant(number, 0.0)] * _AT_A_TIME)
        # the difference, since it is what `project` gives: it may round to another side of zero than values compare
        at_least = builder.fcmp_ordered(">=", builder.fsub(value, level), zero)
        return builder.bitcast(at_least, ir.IntType(_AT_A_TIME))

    return types.uint16(numbers, types.intp, types.intp), codegen


@njit(nogil=True, cache=True)
def write_row(values, levels, out):
    """Write values - levels to `out`: numbers, or, where it holds uint8, the bits "not negative", low bit first."""
    count = len(levels)
    if out.itemsize > 1:
        for j in range(count):
            out[j] = values[j] - levels[j]
        return
    values_at, levels_at = np.intp(values.ctypes.data), np.intp(levels.ctypes.data)
    whole = count // _AT_A_TIME * _AT_A_TIME
    for j in range(0, whole, _AT_A_TIME):
        bits = _not_below(values, values_at + j * values.itemsize, levels_at + j * values.itemsize)
        out[j >> 3], out[(j >> 3) + 1] = bits & 255, bits >> 8
    for start in range(whole, count, 8):
        bits = np.uint16(0)
        for j in range(start, min(start + 8, count)):
            bits |= np.uint16(values[j] - levels[j] >= 0) << (j - start)
        out[start >> 3] = bits


@njit(nogil=True, cache=True)
def write_rows(rows, levels, out):
    """`write_row` of every row, (n, len(levels))."""
    for i in range(rows.shape[0]):
        write_row(rows[i], levels, out[i])
