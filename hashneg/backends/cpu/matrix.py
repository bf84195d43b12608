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
PANEL_BYTES = 2 * VECTOR_BYTES  # of a row of columns: at least 8 numbers, so that their bits fill bytes
TILE_ROWS = 12 if _WIDE else 6  # their sums fill most of the 32 or 16 registers
ROWS_AT_A_TIME = 192  # whole tiles; they and a panel share the L2 cache
_SHORT = 128  # dimensions of a short sum

_I64 = ir.IntType(64)


@intrinsic
def multiply_tile(typingctx, rows, out, x, dim, factors, levels, result):
    """Multiply `TILE_ROWS` rows with a panel of columns and subtract a level from every column.

    Each number is summed in one order, whatever the place of its row: dimension by dimension in short sums, which
    are added up in turn, so that rounding grows with the length of a short sum and not with the dimension.

    Parameters
    ----------
    rows, out : arrays
        Only their dtypes matter: float32 or float64, and the same, or uint8 for the bits "not negative".
    x : address of (chunks, TILE_ROWS, short) floats
        `short` dimensions of all rows, then the next: every address is one register and a constant.
    dim : int64
    factors : address of (dim, columns) floats
    levels : address of (columns,) floats
    result : address of (TILE_ROWS, columns) floats, or of (TILE_ROWS, columns / 8) bytes
    """
    is_single, as_bits = rows.dtype == types.float32, out.dtype == types.uint8

    def codegen(context, builder, signature, args):
        x_at, n, factors_at, levels_at, result_at = args[2:]
        number, size = (ir.FloatType(), 4) if is_single else (ir.DoubleType(), 8)
        lanes = PANEL_BYTES // size
        vector = ir.VectorType(number, lanes)
        multiply_add = f"llvm.fmuladd.v{lanes}f{8 * size}"
        ternary = ir.FunctionType(vector, [vector] * 3)
        scalars = builder.inttoptr(x_at, number.as_pointer())
        columns = builder.inttoptr(factors_at, vector.as_pointer())
        zero = ir.Constant(vector, [ir.Constant(number, 0.0)] * lanes)
        zeros = [zero] * TILE_ROWS

        def short_sums(chunk, totals):
            first = builder.mul(chunk, _I64(_SHORT))
            left = builder.sub(n, first)
            count = builder.select(builder.icmp_signed("<", left, _I64(_SHORT)), left, _I64(_SHORT))
            x_here = builder.gep(scalars, [builder.mul(first, _I64(TILE_ROWS))])
            columns_here = builder.gep(columns, [first])

            def body(k, sums):
                factor = builder.load(builder.gep(columns_here, [k]), align=size)
                x_k = builder.gep(x_here, [k])
                following = []
                for i in range(TILE_ROWS):
                    value = splat(builder, builder.load(builder.gep(x_k, [_I64(i * _SHORT)])), lanes)
                    following.append(call_llvm(builder, multiply_add, ternary, [value, factor, sums[i]]))
                return following

            sums = counted_loop(builder, _I64(0), count, zeros, body)
            return [builder.fadd(total, part) for total, part in zip(totals, sums, strict=True)]

        n_chunks = builder.sdiv(builder.add(n, _I64(_SHORT - 1)), _I64(_SHORT))
        totals = counted_loop(builder, _I64(0), n_chunks, zeros, short_sums)
        level = builder.load(builder.inttoptr(levels_at, vector.as_pointer()), align=size)
        stored = ir.IntType(lanes) if as_bits else vector
        place = builder.inttoptr(result_at, stored.as_pointer())
        for i, total in enumerate(totals):
            z = builder.fsub(total, level)
            if as_bits:
                z = builder.bitcast(builder.fcmp_ordered(">=", z, zero), stored)
            builder.store(z, builder.gep(place, [_I64(i)]), align=1)
        return context.get_dummy_value()

    at = types.intp
    return types.void(rows, out, at, types.int64, at, at, at), codegen


def panels_of(matrix: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (m, d) as panels of its rows, (panels, d, columns), and their levels, (panels, columns).

    Places beyond m have an infinite level: their bits are 0, as padding bits must be.
    """
    count, dim = matrix.shape
    columns = PANEL_BYTES // matrix.itemsize
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
    _multiply(np.ascontiguousarray(rows), np.ascontiguousarray(panels), levels, out)


@njit(nogil=True, cache=True)
def _multiply(rows, panels, levels, out):
    n_rows, dim = rows.shape
    columns = panels.shape[2]
    tiles = _tiles_of(rows)
    panel_bytes = dim * columns * rows.itemsize
    result = np.empty((TILE_ROWS, columns // 8 if out.itemsize == 1 else columns), out.dtype)
    for p in range(len(panels)):
        first = p * result.shape[1]
        last = min(first + result.shape[1], out.shape[1])
        panel_at = np.intp(panels.ctypes.data) + p * panel_bytes
        levels_at = np.intp(levels.ctypes.data) + p * columns * rows.itemsize
        for t in range(len(tiles)):
            tile_at = np.intp(tiles.ctypes.data) + t * tiles.strides[0]
            multiply_tile(rows, out, tile_at, dim, panel_at, levels_at, np.intp(result.ctypes.data))
            start = t * TILE_ROWS
            for i in range(min(TILE_ROWS, n_rows - start)):
                for j in range(last - first):
                    out[start + i, first + j] = result[i, j]


@njit(nogil=True, cache=True)
def _tiles_of(rows):
    """Rows (n, d) as `multiply_tile` reads them, (tiles, chunks, TILE_ROWS, short); the last row fills up a tile."""
    n_rows, dim = rows.shape
    n_tiles, n_chunks = -(-n_rows // TILE_ROWS), -(-dim // _SHORT)
    tiles = np.empty((n_tiles, n_chunks, TILE_ROWS, _SHORT), rows.dtype)
    for i in range(n_tiles * TILE_ROWS):
        row = rows[min(i, n_rows - 1)]
        for chunk in range(n_chunks):
            first = chunk * _SHORT
            part = tiles[i // TILE_ROWS, chunk, i % TILE_ROWS]
            for k in range(min(_SHORT, dim - first)):
                part[k] = row[first + k]
    return tiles
