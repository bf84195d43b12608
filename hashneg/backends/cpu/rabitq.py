"""The estimate of RaBitQ for given (query, row) pairs: sums of the numbers of a query where a code has ones.

A byte of a code is a mask of eight numbers. Looking up sums of four or eight numbers in tables of the query takes
four to nine times as long, and so does a bound that could spare a pair its sum: there is none here.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.matrix import VECTOR_BYTES
from hashneg.backends.cpu.vectors import counted_loop, load8, load64, prefetch, sum_of_lanes
from hashneg.threads import run_tiles

_TILE_PAIRS = 1 << 16
_AHEAD = 8  # pairs, whose rows are fetched before they are needed
_CACHE_LINE = 64
_WORD_BITS = 64
_LANES = VECTOR_BYTES // 4
_SUMS = 4  # vectors that are summed up apart from each other, so that one need not wait for another
_I64, _I32 = ir.IntType(64), ir.IntType(32)


def rabitq_scores(
    z: np.ndarray, shifts: np.ndarray, reaches: np.ndarray, codes: np.ndarray, norms: np.ndarray, factors: np.ndarray,
    ids: np.ndarray, share: float, threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """As in the reference backend."""
    scores, bounds = np.empty(ids.shape, np.float32), np.empty(ids.shape, np.float32)
    if not ids.size:
        return scores, bounds
    z, codes, ids = np.ascontiguousarray(z), np.ascontiguousarray(codes), np.ascontiguousarray(ids)
    step = max(1, min(_TILE_PAIRS // ids.shape[1], -(-len(ids) // threads)))

    def work(start: int) -> None:
        part = slice(start, start + step)
        _score(
            z[part], shifts[part], reaches[part], codes, norms, factors, ids[part], share, scores[part], bounds[part]
        )

    run_tiles(work, range(0, len(ids), step), threads)
    return scores, bounds


@intrinsic
def masked_sum(typingctx, numbers, code, n_words, last):
    """The sum of the float32 numbers whose bits are set in a code, added up in one order.

    Parameters
    ----------
    numbers : address of 64 (n_words + 1) float32
    code : address of n_words words of 64 bits
    last : uint64, the word behind them
    """

    def codegen(context, builder, signature, args):
        numbers_at, code_at, n_words, last = args
        vector = ir.VectorType(ir.FloatType(), _LANES)
        zero = ir.Constant(vector, [ir.FloatType()(0.0)] * _LANES)
        numbers = builder.inttoptr(numbers_at, vector.as_pointer())
        code = builder.inttoptr(code_at, _I64.as_pointer())

        def add(place, word, sums):
            bits = builder.bitcast(word, ir.VectorType(ir.IntType(1), _WORD_BITS))
            first = builder.mul(place, _I64(_WORD_BITS // _LANES))
            sums = list(sums)
            for part in range(_WORD_BITS // _LANES):
                lanes = ir.Constant(ir.VectorType(_I32, _LANES), [_I32(part * _LANES + i) for i in range(_LANES)])
                mask = builder.shuffle_vector(bits, ir.Constant(bits.type, ir.Undefined), lanes)
                values = builder.load(builder.gep(numbers, [builder.add(first, _I64(part))]), align=4)
                chosen = builder.select(mask, values, zero)
                sums[part % _SUMS] = builder.fadd(sums[part % _SUMS], chosen)
            return sums

        def body(place, sums):
            return add(place, builder.load(builder.gep(code, [place]), align=1), sums)

        sums = add(n_words, last, counted_loop(builder, _I64(0), n_words, [zero] * _SUMS, body))
        total = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
        return sum_of_lanes(builder, total, _LANES)

    return types.float32(types.intp, types.intp, types.int64, types.uint64), codegen


@njit(nogil=True, cache=True, error_model="numpy")
def _score(z, shifts, reaches, codes, norms, factors, ids, share, scores, bounds):
    n, width = codes.shape
    n_bits, columns = z.shape[1], ids.shape[1]
    n_words = (width - 1) // 8  # whole words before the last, which may be shorter
    last_bytes = width - 8 * n_words
    numbers = np.zeros((n_words + 1) * _WORD_BITS, np.float32)
    numbers_at, codes_at = np.intp(numbers.ctypes.data), np.intp(codes.ctypes.data)
    for i in range(len(ids)):
        total = 0.0
        for t in range(n_bits):
            numbers[t] = z[i, t]
            total += z[i, t]
        for j in range(columns):
            ahead = ids[i, min(j + _AHEAD, columns - 1)]
            if 0 <= ahead < n:
                for line in range(0, width, _CACHE_LINE):
                    prefetch(codes_at + ahead * width + line)
            row = ids[i, j]
            if row < 0 or row >= n:  # padding, or an id that nobody checked
                scores[i, j] = bounds[i, j] = np.nan
                continue
            code_at = codes_at + row * width
            last = np.uint64(0)
            if width >= 8:  # the last eight bytes, less those of the word before
                last = load64(code_at + width - 8) >> np.uint64(8 * (8 - last_bytes))
            else:
                for byte in range(width):
                    last |= load8(code_at + byte) << np.uint64(8 * byte)
            product = 2.0 * masked_sum(numbers_at, code_at, n_words, last) - total
            norm, factor = np.float64(norms[row]), np.float64(factors[row])
            estimate = factor * product - norm * norm / 2.0 + shifts[i]
            if math.isnan(estimate):
                scores[i, j] = bounds[i, j] = 0.0
                continue
            inverse = factor / norm if norm > 0.0 else 0.0
            scores[i, j] = estimate
            bounds[i, j] = reaches[i] * norm * math.sqrt(max(n_bits * inverse * inverse - share, 0.0))
    numbers[0] = codes.size  # a last use of what the kernel read by address
