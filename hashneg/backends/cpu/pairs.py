"""Exact similarities of given (anchor, row) pairs, tile by tile.

Read anchor by anchor, every pair fetches its row from memory: 4 x 128 candidates of 60,000 anchors are 96 GB
for 784 floats. A tile holds similar anchors, as many as fit the cache, and its pairs are sorted by row, so that a
row is fetched once for all anchors of the tile that name it.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.matrix import VECTOR_BYTES
from hashneg.backends.cpu.vectors import call_llvm, counted_loop, prefetch, sum_of_lanes
from hashneg.threads import run_tiles

_TILE_BYTES = 1 << 20  # of the anchors of a tile: about the L2 cache, in which they stay while rows pass
_TILE_PAIRS = 1 << 18
_LEADERS_EVERY = 64  # anchors
_CACHE_LINE = 64
_AHEAD_BYTES = 4096  # of the next row, fetched before they are needed
_LANES = VECTOR_BYTES // 8
_SUMS = 4  # vectors that are summed up apart from each other, so that one need not wait for another
_ANCHORS = 2  # multiplied with a row at once
_GROUP = (0,) * _ANCHORS  # a tuple tells the compiler its length
_I64 = ir.IntType(64)


def pair_scores(anchors: np.ndarray, rows: np.ndarray, which: np.ndarray, cosine: bool, threads: int = 1) -> np.ndarray:
    """Similarity of anchor i with rows[which[i, j]], float32 (m, p); NaN where `which` is -1."""
    scores = np.empty(which.shape, np.float32)
    if not scores.size:
        return scores
    anchors, rows, which = np.ascontiguousarray(anchors), np.ascontiguousarray(rows), np.ascontiguousarray(which)
    step = min(_TILE_BYTES // (anchors.shape[1] * anchors.itemsize), _TILE_PAIRS // which.shape[1])
    step = max(1, min(step, -(-len(anchors) // threads)))
    order = similar_together(anchors)

    def work(start: int) -> None:
        _score(_GROUP, anchors, rows, which, order[start : start + step], cosine, scores)

    run_tiles(work, range(0, len(anchors), step), threads)
    return scores


def similar_together(anchors: np.ndarray) -> np.ndarray:
    """An order in which similar anchors, which share many candidates, stand together; it changes no result.

    Each anchor goes to the most similar of some leaders, and the leaders form a chain, each followed by the most
    similar of those that are left.
    """
    count = len(anchors) // _LEADERS_EVERY
    if count < 2:
        return np.arange(len(anchors))
    leaders = anchors[:: len(anchors) // count][:count]
    with np.errstate(all="ignore"):  # numbers so large or small that they overflow here only spoil the order
        leaders = leaders / np.sqrt(np.einsum("ij,ij->i", leaders, leaders))[:, None]
        likeness = leaders @ leaders.T
        chain = [0]
        for _ in range(count - 1):
            likeness[:, chain[-1]] = -np.inf
            chain.append(int(likeness[chain[-1]].argmax()))
        nearest = (anchors @ leaders[chain].T).argmax(axis=1)
    return np.argsort(nearest, kind="stable")


@intrinsic
def dot_products(typingctx, group, matrix, row, others, length, out):
    """Products of a row with some other rows, in float64, in which those of float32 numbers are exact.

    Numbers are added up in one order, whatever the other rows are: equal rows have equal products.

    Parameters
    ----------
    group : tuple
        Its length, known when the kernel is compiled, is the number of other rows.
    matrix : array
        Only its dtype matters: that of the other rows, float32 or float64.
    row : address of `length` float64 numbers
    others : address of int64 addresses
    length : int64
        Filled up with zeros to a multiple of `_SUMS` vectors.
    out : address of float64 products
    """
    count, is_single = group.count, matrix.dtype == types.float32

    def codegen(context, builder, signature, args):
        row_at, others_at, n, out_at = args[2:]
        double = ir.DoubleType()
        vector = ir.VectorType(double, _LANES)
        stored = ir.VectorType(ir.FloatType(), _LANES) if is_single else vector
        ternary = ir.FunctionType(vector, [vector] * 3)
        own = builder.inttoptr(row_at, vector.as_pointer())
        addresses = builder.inttoptr(others_at, _I64.as_pointer())
        others = [
            builder.inttoptr(builder.load(builder.gep(addresses, [_I64(i)])), stored.as_pointer()) for i in range(count)
        ]

        def body(step, sums):
            following = []
            for s in range(_SUMS):
                place = builder.add(builder.mul(step, _I64(_SUMS)), _I64(s))
                value = builder.load(builder.gep(own, [place]), align=8)
                for i, other in enumerate(others):
                    factor = builder.load(builder.gep(other, [place]), align=4)
                    factor = builder.fpext(factor, vector) if is_single else factor
                    arguments = [value, factor, sums[s * count + i]]
                    following.append(call_llvm(builder, f"llvm.fmuladd.v{_LANES}f64", ternary, arguments))
            return following

        zeros = [ir.Constant(vector, [double(0.0)] * _LANES)] * (_SUMS * count)
        sums = counted_loop(builder, _I64(0), builder.sdiv(n, _I64(_SUMS * _LANES)), zeros, body)
        products = builder.inttoptr(out_at, double.as_pointer())
        for i in range(count):
            total = builder.fadd(
                builder.fadd(sums[i], sums[count + i]), builder.fadd(sums[2 * count + i], sums[3 * count + i])
            )
            builder.store(sum_of_lanes(builder, total, _LANES), builder.gep(products, [_I64(i)]))
        return context.get_dummy_value()

    at = types.intp
    return types.void(group, matrix, at, at, types.int64, at), codegen


@njit(nogil=True, cache=True, error_model="numpy")
def _score(group, anchors, rows, which, tile, cosine, scores):
    """The scores of the anchors `tile`, row by row of those that they name."""
    n, dim, width = len(tile), anchors.shape[1], which.shape[1]
    length = -(-dim // (_SUMS * _LANES)) * (_SUMS * _LANES)
    own, lengths = np.zeros((n, length), anchors.dtype), np.empty(n)
    for i in range(n):
        lengths[i] = _copy(anchors, tile[i], own[i], cosine)
    row = np.zeros(length)
    addresses, products = np.empty(len(group), np.int64), np.empty(len(group))
    rows_at, row_bytes = np.intp(rows.ctypes.data), dim * rows.itemsize
    own_at, own_bytes = np.intp(own.ctypes.data), length * own.itemsize
    column_bits, place_bits = _bits(width - 1), _bits(n - 1) + _bits(width - 1)
    columns, places = (1 << column_bits) - 1, (1 << place_bits) - 1
    pairs = _pairs_by_row(which, tile, len(rows), column_bits, place_bits, scores)
    begin = 0
    while begin < len(pairs):
        number = pairs[begin] >> place_bits
        end = begin + 1
        while end < len(pairs) and pairs[end] >> place_bits == number:
            end += 1
        # The next row is fetched a piece at a time: all at once it would hold up the anchors, which come from L2.
        ahead_at = rows_at + (pairs[min(end, len(pairs) - 1)] >> place_bits) * row_bytes
        ahead_end = ahead_at + min(row_bytes, _AHEAD_BYTES)
        piece = ((ahead_end - ahead_at) * len(group) // (end - begin) // _CACHE_LINE + 1) * _CACHE_LINE
        row_length = _copy(rows, number, row, cosine)
        for first in range(begin, end, len(group)):
            for line_at in range(ahead_at, min(ahead_at + piece, ahead_end), _CACHE_LINE):
                prefetch(line_at)
            ahead_at += piece
            for i in range(len(group)):  # the last pair fills up the group
                place = pairs[min(first + i, end - 1)] & places
                addresses[i] = own_at + (place >> column_bits) * own_bytes
            dot_products(
                group, own, np.intp(row.ctypes.data), np.intp(addresses.ctypes.data), length,
                np.intp(products.ctypes.data)
            )  # fmt: skip
            for i in range(min(len(group), end - first)):
                place = pairs[first + i] & places
                anchor = place >> column_bits
                scores[tile[anchor], place & columns] = products[i] / (lengths[anchor] * row_length)
        begin = end
    addresses[0] = products.size + row.size + own.size  # a last use of what the kernel read by address


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _copy(matrix, number, out, cosine):
    """Copy a row; gives what its products are to be divided by: infinity for a row of zeros, so that they stay 0."""
    square = 0.0
    for t in range(matrix.shape[1]):
        value = matrix[number, t]
        out[t] = value
        square += np.float64(value) * np.float64(value)
    if not cosine:
        return 1.0
    return math.sqrt(square) if square > 0.0 else np.inf


@njit(nogil=True, cache=True)
def _bits(value):
    bits = 0
    while value >> bits:
        bits += 1
    return bits


@njit(nogil=True, cache=True)
def _pairs_by_row(which, tile, n_rows, column_bits, place_bits, scores):
    """(row, place in the tile, column) of all real pairs in one integer, sorted by row: a radix sort of two digits."""
    pairs = np.empty(len(tile) * which.shape[1], np.int64)
    digit_bits = (_bits(n_rows) + 1) // 2
    digits = 1 << digit_bits
    low, high = np.zeros(digits + 1, np.int64), np.zeros(digits + 1, np.int64)
    held = 0
    for i in range(len(tile)):
        for j in range(which.shape[1]):
            row = which[tile[i], j]
            if row < 0 or row >= n_rows:  # padding, or an id that nobody checked
                scores[tile[i], j] = np.nan
                continue
            low[(row & (digits - 1)) + 1] += 1
            high[(row >> digit_bits) + 1] += 1
            pairs[held] = row << place_bits | i << column_bits | j
            held += 1
    for digit in range(digits):  # the first place of every digit
        low[digit + 1] += low[digit]
        high[digit + 1] += high[digit]
    halfway, pairs = np.empty(held, np.int64), pairs[:held]
    for pair in pairs:
        digit = pair >> place_bits & (digits - 1)
        halfway[low[digit]] = pair
        low[digit] += 1
    for pair in halfway:
        digit = pair >> (place_bits + digit_bits)
        pairs[high[digit]] = pair
        high[digit] += 1
    return pairs
