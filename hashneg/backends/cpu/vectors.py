"""Vector instructions that Numba has no name for, written as LLVM IR.

Kernels pass addresses, not arrays. Numba frees an array after its last use by name, and taking its address is a
use that ends at once: take the address of an argument, or of an array that is used again behind the loop.

The IR is that of a generic vector machine: LLVM compiles it to AVX-512, AVX2, NEON or SSE. Only the full
adder is written twice, since AVX-512 has an instruction for any function of three bits.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic

# A kernel that allocates nothing. Numba then counts no references: between compiled functions it would count every
# array at every call, an atomic operation each, which costs more than the work on a survivor.
kernel = numba.njit(nogil=True, cache=True, _nrt=False)
inlined_kernel = numba.njit(nogil=True, cache=True, _nrt=False, forceinline=True)

_I64, _I32 = ir.IntType(64), ir.IntType(32)
# truth tables of a ^ b ^ c, of "two of three", and of the carry of two bits and a third that gave this sum
_SUM, _MAJORITY, _CARRY = 0x96, 0xE8, 0xD4


AVX512_WORDS = 8  # vectors of this width may use AVX-512 instructions by name


@lru_cache(maxsize=1)
def vector_words() -> int:
    """64-bit words of the widest vectors of the processor that Numba compiles for; 4 where there is no AVX-512."""
    chosen = numba.config.CPU_FEATURES
    if chosen is None and numba.config.CPU_NAME is None:
        wide = binding.get_host_cpu_features().get("avx512f", False)
    else:  # somebody restricted the code that Numba makes
        wide = "+avx512f" in (chosen or "")
    return AVX512_WORDS if wide else 4


@intrinsic
def load64(typingctx, address):
    """The eight bytes at an address of any alignment, as uint64."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.intp), codegen


@inlined_kernel
def field(address, column):
    """Column `column` of the int64s at an address."""
    return np.int64(load64(address + 8 * column))


@intrinsic
def load8(typingctx, address):
    """The byte at an address, as uint64."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(pointer, align=1), _I64)

    return types.uint64(types.intp), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line of an address, which is read soon."""
    return types.void(types.intp), _prefetch_into(3)


@intrinsic
def prefetch_into_l2(typingctx, address):
    """Ask for the cache line of an address, which is read later: the first-level cache stays as it is."""
    return types.void(types.intp), _prefetch_into(2)


def _prefetch_into(level):
    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        call_llvm(builder, "llvm.prefetch.p0", kind, [builder.inttoptr(args[0], byte), _I32(0), _I32(level), _I32(1)])
        return context.get_dummy_value()

    return codegen


@intrinsic
def popcount(typingctx, word):
    """The number of ones of a uint64, as int64."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def lowest_bit(typingctx, word):
    """The position of the lowest one of a uint64 that is not 0, as int64."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


class Emitter:
    """Writes IR on vectors of `words` 64-bit words."""

    def __init__(self, builder: ir.IRBuilder, words: int) -> None:
        self.builder = builder
        self.words = words
        self.ternary = words == AVX512_WORDS
        self.vector = ir.VectorType(_I64, words)

    def pointer(self, address):
        return self.builder.inttoptr(address, self.vector.as_pointer())

    def load(self, base, number):
        return self.builder.load(self.builder.gep(base, [_I64(number)]), align=8)

    def store(self, base, number, value):
        self.builder.store(value, self.builder.gep(base, [_I64(number)]), align=8)

    def splat(self, scalar):
        return splat(self.builder, scalar, self.words)

    def full_adder(self, a, b, c):
        """(sum, carry) of three bits in every place."""
        if self.ternary:
            total = self._three_input(a, b, c, _SUM)
            # the instruction overwrites its first operand: from the sum, b and c the carry costs no copy of a
            return total, self._three_input(b, c, total, _CARRY)
        half = self.builder.xor(a, b)
        carry = self.builder.or_(self.builder.and_(a, b), self.builder.and_(half, c))
        return self.builder.xor(half, c), carry

    def majority(self, a, b, c):
        if self.ternary:
            return self._three_input(a, b, c, _MAJORITY)
        return self.builder.or_(self.builder.and_(a, b), self.builder.and_(self.builder.or_(a, b), c))

    def _three_input(self, a, b, c, table):
        kind = ir.FunctionType(self.vector, [self.vector] * 3 + [_I32])
        return call_llvm(self.builder, "llvm.x86.avx512.pternlog.q.512", kind, [a, b, c, _I32(table)])

    def words_in_use(self, value):
        """An i64 whose bit w says whether word w of a vector is not 0."""
        in_use = self.builder.icmp_unsigned("!=", value, ir.Constant(self.vector, [0] * self.words))
        return self.builder.zext(self.builder.bitcast(in_use, ir.IntType(self.words)), _I64)


def counted_loop(builder, first, last, state, body):
    """Emit state = body(i, state) for i in first..last-1; returns the values after the loop."""
    before = builder.block
    inside = builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.done")
    builder.cbranch(builder.icmp_signed("<", first, last), inside, after)
    builder.position_at_end(inside)
    number = builder.phi(_I64)
    number.add_incoming(first, before)
    carried = [builder.phi(value.type) for value in state]
    for phi, value in zip(carried, state, strict=True):
        phi.add_incoming(value, before)
    result = body(number, carried)
    following = builder.add(number, _I64(1))
    end = builder.block
    number.add_incoming(following, end)
    for phi, value in zip(carried, result, strict=True):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", following, last), inside, after)
    builder.position_at_end(after)
    final = [builder.phi(value.type) for value in state]
    for phi, old, new in zip(final, state, result, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, end)
    return final


def splat(builder, scalar, lanes):
    """A vector whose every lane is the scalar."""
    vector = ir.VectorType(scalar.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)


def sum_of_lanes(builder, vector, lanes):
    """The sum of the lanes of a vector, half by half: LLVM's own reduction adds one lane after the other."""
    while lanes > 1:
        lanes //= 2
        lower, upper = (
            builder.shuffle_vector(
                vector,
                ir.Constant(vector.type, ir.Undefined),
                ir.Constant(ir.VectorType(_I32, lanes), [_I32(first + lane) for lane in range(lanes)]),
            )
            for first in (0, lanes)
        )
        vector = builder.fadd(lower, upper)
    return builder.extract_element(vector, _I32(0))


def call_llvm(builder, name, kind, arguments):
    """Call an LLVM intrinsic, declaring it where the module does not know it yet."""
    module = builder.module
    return builder.call(module.globals.get(name) or ir.Function(module, kind, name), arguments)
