"""Matrix products in which a number does not depend on the place of its row or column.

BLAS may sum a row differently when it stands elsewhere in a matrix, or when the matrix has another number of
rows. Here every number is summed in one order: a row has one code, and equal rows have equal
scores. A tile of sums stays in registers and leaves them less a threshold, as numbers or as bits.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.vectors import AVX512_WORDS, call_llvm, counted_loop, splat, vector_words

_WIDE = vector_words() == AVX512_WORDS
VECTOR_BYTES = 64 if _WIDE else 32
PANEL_VECTORS = 2  # of columns
TILE_ROWS = 12 if _WIDE else 6  # with 2 vectors of columns, the sums fill most of the 32 or 16 registers
ROWS_AT_A_TIME = 8 * TILE_ROWS  # they and a panel share the L2 cache
_SHORT = 64  # dimensions of a short sum

_PANEL, _TILE = (0,) * PANEL_VECTORS, (0,) * TILE_ROWS  # tuples tell the compiler their lengths
_I64 = ir.IntType(64)


@intrinsic
def multiply_tile(typingctx, panel, tile, rows, out, x, dim, factors, levels, result):
    """Multiply a few rows with a panel of columns and subtract a level from every column.

    Each number is summed in one order, whatever the place of its row: dimension by dimension in short sums, which
    are added up in turn, so that rounding grows with the length of a short sum and not with the dimension.

    Parameters
    ----------
    panel, tile : tuples
        Their lengths, known when the kernel is compiled: vectors of columns, and rows.
    rows, out : arrays
        Only their dtypes matter: float32 or float64, and the same, or uint8 for the bits "not negative".
    x : address of (rows, dim) floats
    dim : int64
    factors : address of (dim, columns) floats
    levels : address of (columns,) floats
    result : address of (rows, columns) floats, or of (rows, columns / 8) bytes
    """
    n_vectors, n_rows = panel.count, tile.count
    is_single, as_bits = rows.dtype == types.float32, out.dtype == types.uint8

    def codegen(context, builder, signature, args):
        x_at, n, factors_at, levels_at, result_at = args[4:]
        number = ir.FloatType() if is_single else ir.DoubleType()
        lanes = VECTOR_BYTES // (4 if is_single else 8)
        vector = ir.VectorType(number, lanes)
        multiply_add = f"llvm.fmuladd.v{lanes}f{32 if is_single else 64}"
        ternary = ir.FunctionType(vector, [vector] * 3)
        scalars = builder.inttoptr(x_at, number.as_pointer())
        columns = builder.inttoptr(factors_at, vector.as_pointer())

        def load(base, place):
            return builder.load(builder.gep(base, [place]), align=4 if is_single else 8)

        def body(k, sums):
            here = builder.mul(k, _I64(n_vectors))
            factors = [load(columns, builder.add(here, _I64(v))) for v in range(n_vectors)]
            following = []
            for i in range(n_rows):
                value = splat(builder, load(scalars, builder.add(builder.mul(_I64(i), n), k)), lanes)
                for v in range(n_vectors):
                    arguments = [value, factors[v], sums[i * n_vectors + v]]
                    following.append(call_llvm(builder, multiply_add, ternary, arguments))
            return following

        zero = ir.Constant(vector, [ir.Constant(number, 0.0)] * lanes)
        zeros = [zero] * (n_rows * n_vectors)

        def short_sums(chunk, totals):
            first = builder.mul(chunk, _I64(_SHORT))
            last = builder.add(first, _I64(_SHORT))
            last = builder.select(builder.icmp_signed("<", last, n), last, n)
            sums = counted_loop(builder, first, last, zeros, body)
            return [builder.fadd(total, part) for total, part in zip(totals, sums, strict=True)]

        n_chunks = builder.sdiv(builder.add(n, _I64(_SHORT - 1)), _I64(_SHORT))
        sums = counted_loop(builder, _I64(0), n_chunks, zeros, short_sums)
        level = [load(builder.inttoptr(levels_at, vector.as_pointer()), _I64(v)) for v in range(n_vectors)]
        stored = ir.IntType(lanes) if as_bits else vector
        place = builder.inttoptr(result_at, stored.as_pointer())
        for i, total in enumerate(sums):
            z = builder.fsub(total, level[i % n_vectors])
            if as_bits:
                z = builder.bitcast(builder.fcmp_ordered(">=", z, zero), stored)
            builder.store(z, builder.gep(place, [_I64(i)]), align=1)
        return context.get_dummy_value()

    at = types.intp
    return types.void(panel, tile, rows, out, at, types.int64, at, at, at), codegen


def panels_of(matrix: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (m, d) as panels of its rows, (panels, d, columns), and their levels, (panels, columns).

    Places beyond m have an infinite level: their bits are 0, as padding bits must be.
    """
    count, dim = matrix.shape
    columns = PANEL_VECTORS * VECTOR_BYTES // matrix.itemsize
    n_panels = -(-count // columns)
    padded = np.zeros((n_panels * columns, dim), matrix.dtype)
    padded[:count] = matrix
    padded_levels = np.full(n_panels * columns, np.inf, matrix.dtype)
    padded_levels[:count] = levels
    panels = np.ascontiguousarray(padded.reshape(n_panels, columns, dim).transpose(0, 2, 1))
    return panels, padded_levels.reshape(n_panels, columns)


def multiply(rows: np.ndarray, panels: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    """Write the products of `rows` (n, d) with the rows in `panels`, less their levels, to `out`.

    `out` is (n, m) of the dtype of `rows`, or uint8 (n, ceil(m/8)) for the bits "not negative", low bit first.
    """
    _multiply(_PANEL, _TILE, np.ascontiguousarray(rows), np.ascontiguousarray(panels), levels, out)


@njit(nogil=True, cache=True)
def _multiply(panel, tile, rows, panels, levels, out):
    n_rows, dim = rows.shape
    n_tile, columns = len(tile), panels.shape[2]
    whole = n_rows // n_tile * n_tile
    rest = np.zeros((n_tile, dim), rows.dtype)  # the last rows, filled up to a tile
    rest[: n_rows - whole] = rows[whole:]
    result = np.empty((n_tile, columns // 8 if out.itemsize == 1 else columns), out.dtype)
    for p in range(len(panels)):
        first = p * result.shape[1]
        last = min(first + result.shape[1], out.shape[1])
        panel_at = np.intp(panels.ctypes.data) + p * dim * columns * rows.itemsize
        levels_at = np.intp(levels.ctypes.data) + p * columns * rows.itemsize
        for start in range(0, n_rows, n_tile):
            rows_at = np.intp(rows.ctypes.data) + start * dim * rows.itemsize
            if start == whole:
                rows_at = np.intp(rest.ctypes.data)
            multiply_tile(
                panel, tile, rows, out, rows_at, dim, panel_at, levels_at, np.intp(result.ctypes.data)
            )  # fmt: skip
            for i in range(min(n_tile, n_rows - start)):
                for j in range(last - first):
                    out[start + i, first + j] = result[i, j]
