"""The counting kernel: add chosen rows of a block for all its codes at once, and compare with a threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hashneg.backends.cpu.vectors import Emitter, counted_loop

ROWS_AT_ONCE = 8  # the rows of a node are padded to a multiple of it
_LOOP_ROWS = 32  # rows of a turn of the loop; what is left is added 16 and 8 at a time

_I64 = ir.IntType(64)


@intrinsic
def count_rows(typingctx, planes, words, offset, block, start, chosen, n_rows, levels, equal, valid, flip, out):
    """Count chosen rows of a block for all its lanes at once, and mark the lanes that reach a threshold.

    Lane l is a code: bit l of row j is bit j of that code. Counters are bit-sliced too: plane p holds bit p
    of every lane's counter. Rows are added by carry-save adders, in registers. If any lane is marked the
    counters and the marks are written to `out`. Returns which words of the marks are not 0, a bit each.

    Parameters
    ----------
    planes, words : tuples
        Their lengths, known when the kernel is compiled, are the bits of a counter and the words of a row.
    offset : a row offset, in words; only its type matters
    block, start, chosen : addresses
        Row 0 of the block; the counters to start from; the offsets of the rows to count.
    n_rows : int64
        How many offsets, a multiple of `ROWS_AT_ONCE`.
    levels : address of int64 (planes,)
        The threshold, one word for each bit: 0 where the bit is 1, all ones where it is 0.
    equal, valid : addresses
        A row that is 1 where the threshold itself is enough and 0 where more is needed (address 0 for "enough
        everywhere"); a row that is 1 for the lanes to consider.
    flip : int64
        All ones to mark the lanes that stay below the threshold, 0 otherwise.
    out : address
        Room for the counters, and behind them the marks.
    """
    n_planes, n_words, offset_bits = planes.count, words.count, offset.bitwidth

    def codegen(context, builder, signature, args):
        emit = Emitter(builder, n_words)
        block_at, start_at, chosen_at, n_rows, levels_at, equal_at, valid_at, flipped, out_at = args[3:]
        block_words = builder.inttoptr(block_at, _I64.as_pointer())
        row_offsets = builder.inttoptr(chosen_at, ir.IntType(offset_bits).as_pointer())

        def row(place):
            offset = builder.zext(builder.load(builder.gep(row_offsets, [place])), _I64)
            vector = builder.bitcast(builder.gep(block_words, [offset]), emit.vector.as_pointer())
            return builder.load(vector, align=8)

        start = emit.pointer(start_at)
        counters = [emit.load(start, p) for p in range(n_planes)]
        turns = builder.udiv(n_rows, _I64(_LOOP_ROWS))

        def turn(number, counters):
            return _add(emit, counters, row, builder.mul(number, _I64(_LOOP_ROWS)), _LOOP_ROWS)

        counters = counted_loop(builder, _I64(0), turns, counters, turn)
        first = builder.mul(turns, _I64(_LOOP_ROWS))
        for size in (16, 8):
            counters, first = _add_if(emit, counters, row, first, size, builder.and_(n_rows, _I64(size)))

        everywhere = builder.icmp_unsigned("==", equal_at, _I64(0))
        safe_at = builder.select(everywhere, valid_at, equal_at)
        reached = builder.or_(
            emit.load(emit.pointer(safe_at), 0), emit.splat(builder.select(everywhere, _I64(-1), _I64(0)))
        )
        level_words = builder.inttoptr(levels_at, _I64.as_pointer())
        for p, counter in enumerate(counters):  # from the low bit: a higher one overrules
            lower = emit.splat(builder.load(builder.gep(level_words, [_I64(p)])))
            reached = emit.majority(counter, reached, lower)
        marks = builder.and_(builder.xor(reached, emit.splat(flipped)), emit.load(emit.pointer(valid_at), 0))
        marked = emit.words_in_use(marks)
        some = builder.icmp_unsigned("!=", marked, _I64(0))
        with builder.if_then(some, likely=False):
            out = emit.pointer(out_at)
            for p, vector in enumerate([*counters, marks]):
                emit.store(out, p, vector)
        return marked

    at, number = types.intp, types.int64
    return types.int64(planes, words, offset, at, at, at, number, at, at, at, number, at), codegen


@intrinsic
def lane_counter(typingctx, planes, words, counters, word, bit):
    """The counter of one lane, int64, gathered from its planes."""

    def codegen(context, builder, signature, args):
        counters_at, word, bit = args[2:]
        first = builder.gep(builder.inttoptr(counters_at, _I64.as_pointer()), [word])
        value = _I64(0)
        for p in range(planes.count):
            plane = builder.load(builder.gep(first, [_I64(p * words.count)]))
            one = builder.and_(builder.lshr(plane, bit), _I64(1))
            value = builder.or_(value, builder.shl(one, _I64(p)))
        return value

    return types.int64(planes, words, types.intp, types.int64, types.int64), codegen


def _add(emit: Emitter, counters: list[Any], row: Callable, first: Any, length: int) -> list[Any]:
    """Add rows first .. first+length-1, a power of two of them, to the counters."""
    builder, counters = emit.builder, list(counters)
    places = iter(range(length))

    def pair(level):
        """Two vectors of weight 2**level, made of the next 2**(level+1) rows."""
        if level == 0:
            return [row(builder.add(first, _I64(next(places)))) for _ in range(2)]
        (a, b), (c, d) = pair(level - 1), pair(level - 1)
        # one of the two adders leaves the counter alone: the chain through it is half as long
        partial, left = emit.full_adder(a, b, c)
        counters[level - 1], right = emit.full_adder(counters[level - 1], partial, d)
        return left, right

    level = length.bit_length() - 1
    counters[level - 1], carry = emit.full_adder(counters[level - 1], *pair(level - 1))
    for p in range(level, len(counters)):
        counters[p], carry = builder.xor(counters[p], carry), builder.and_(counters[p], carry)
    return counters


def _add_if(
    emit: Emitter, counters: list[Any], row: Callable, first: Any, length: int, wanted: Any
) -> tuple[list[Any], Any]:
    """Add rows first .. first+length-1 if `wanted` is not 0; returns the counters and the next row."""
    builder = emit.builder
    before = builder.block
    inside, after = builder.append_basic_block("rows"), builder.append_basic_block("rows.done")
    builder.cbranch(builder.icmp_unsigned("!=", wanted, _I64(0)), inside, after)
    builder.position_at_end(inside)
    added = [*_add(emit, counters, row, first, length), builder.add(first, _I64(length))]
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    joined = []
    for old, new in zip([*counters, first], added, strict=True):
        phi = builder.phi(old.type)
        phi.add_incoming(old, before)
        phi.add_incoming(new, end)
        joined.append(phi)
    return joined[:-1], joined[-1]
