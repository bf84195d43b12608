"""The bit-sliced database: row j of a block holds bit j of all its codes.

A block is `lanes` codes; its rows, of `words` 64-bit words each, are

    0 .. n_bits-1    the bits of the codes
    n_bits           zeros: row numbers are padded with it to full groups
    n_bits+1         1 where |x|, the number of ones of the code, is even
    n_bits+2         1 where the lane holds a row that may be returned
    n_bits+3 ..      bit-sliced start value of the counter, n_bits//2 - |x|//2

The start value makes the comparison with a threshold one of a counter with a constant: with s the number of
rows of the query's ones (or zeros) that are set in x, the counter ends at v = n_bits//2 - |x|//2 + s, and the
distance is an affine function of v and the parity of |x|; see `forest`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numba import njit

from hashneg.backends.cpu.vectors import load8, load64, popcount, vector_words
from hashneg.backends.request import BLOCK_ROWS, Database

_FIXED_ROWS = 3


@dataclass
class Layout:
    """Bit-sliced blocks of a database.

    Attributes
    ----------
    blocks : uint64 (n_blocks, rows, words), 64-byte aligned
    planes : int, bits of a counter
    order : int64 (n,), the row at every position; empty where row and position are the same
    stale : bool (groups,), of 64 neighbouring lanes, whose codes changed since they were written
    """

    blocks: np.ndarray
    planes: int
    order: np.ndarray
    stale: np.ndarray

    @property
    def words(self) -> int:
        return self.blocks.shape[2]

    @property
    def lanes(self) -> int:
        return 64 * self.words

    @property
    def shape(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tuples whose lengths tell the compiler the bits of a counter and the words of a vector."""
        return (0,) * self.planes, (0,) * self.words


def planes_of(n_bits: int) -> int:
    """Bits of a counter that holds 0 .. n_bits + 1; at least 5, for the carries of a group of 16 rows."""
    return max(5, (n_bits + 1).bit_length())


def build(database: Database, words: int | None = None) -> Layout:
    """Lay out all codes of a database."""
    words = vector_words() if words is None else words
    n, planes = len(database.codes), planes_of(database.n_bits)
    order = np.empty(0, np.int64) if database.clustering is None else database.clustering.order
    blocks = aligned_zeros(_n_blocks(n, words), database.n_bits + _FIXED_ROWS + planes, words)
    layout = Layout(blocks, planes, order, np.ones(-(-n // 64), bool))
    refresh(layout, database)
    return layout


def mark(layout: Layout, database: Database, rows: np.ndarray) -> None:
    """Note that `rows` of the database changed or were added.

    One code lies in as many cache lines as it has bits, and so do 64 neighbours: they are written together, when the
    layout is read next.
    """
    n, words = len(database.codes), layout.words
    if _n_blocks(n, words) > len(layout.blocks):
        grown = aligned_zeros(max(_n_blocks(n, words), len(layout.blocks) * 3 // 2), layout.blocks.shape[1], words)
        grown[: len(layout.blocks)] = layout.blocks
        layout.blocks = grown
    positions = rows
    if database.clustering is not None:
        layout.order = database.clustering.order
        positions = database.clustering.positions[rows]
    new_groups = -(-n // 64) - len(layout.stale)
    layout.stale = np.concatenate([layout.stale, np.ones(new_groups, bool)])
    layout.stale[positions >> 6] = True


def refresh(layout: Layout, database: Database) -> None:
    """Write what is stale. Of threads that search at the same time one does it, and the others wait."""
    with _filling:
        groups = np.flatnonzero(layout.stale)
        if not len(groups):
            return
        codes = np.ascontiguousarray(database.codes)
        alive = np.ones(len(codes), bool) if database.alive is None else database.alive
        planes = layout.planes
        _fill(layout.blocks, groups, codes.ctypes.data, codes.shape, layout.order, alive, database.n_bits, planes)
        layout.stale[groups] = False


_filling = Lock()


def _renew_lock() -> None:
    """A process may be forked while another thread fills a layout: its copy of the lock would never be given back."""
    global _filling
    _filling = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _n_blocks(n: int, words: int) -> int:
    return -(-n // BLOCK_ROWS) * (BLOCK_ROWS // (64 * words))


def aligned_zeros(n_blocks: int, rows: int, words: int) -> np.ndarray:
    """Zeros whose first byte starts a cache line: a vector that lies in two costs twice."""
    size = n_blocks * rows * words * 8
    raw = np.zeros(size + 64, np.uint8)
    shift = -raw.ctypes.data % 64
    return raw[shift : shift + size].view(np.uint64).reshape(n_blocks, rows, words)


@njit(nogil=True, cache=True)
def _fill(blocks, groups, codes_at, shape, order, alive, n_bits, planes):
    n, width = shape
    words = blocks.shape[2]
    square = np.empty(64, np.uint64)
    ones = np.empty(64, np.int64)
    for group in groups:
        block, word = group // words, group % words
        first = group * 64
        lanes = min(64, n - first)
        ones[:] = 0
        for column in range(0, n_bits, 64):
            square[:] = np.uint64(0)
            in_code = ~np.uint64(0) >> np.uint64(max(0, column + 64 - n_bits))
            for lane in range(lanes):
                row = order[first + lane] if len(order) else first + lane
                square[lane] = _word(codes_at + row * width, column // 8, width) & in_code
                ones[lane] += popcount(square[lane])
            _transpose(square)
            for j in range(min(64, n_bits - column)):
                blocks[block, column + j, word] = square[j]
        even, valid = np.uint64(0), np.uint64(0)
        start = np.zeros(planes, np.uint64)
        for lane in range(lanes):
            row = order[first + lane] if len(order) else first + lane
            bit = np.uint64(1) << np.uint64(lane)
            if ones[lane] % 2 == 0:
                even |= bit
            if alive[row]:
                valid |= bit
            value = n_bits // 2 - ones[lane] // 2
            for p in range(planes):
                if (value >> p) & 1:
                    start[p] |= bit
        blocks[block, n_bits + 1, word] = even
        blocks[block, n_bits + 2, word] = valid
        for p in range(planes):
            blocks[block, n_bits + 3 + p, word] = start[p]


@njit(nogil=True, cache=True)
def _word(code_at, byte, width):
    """Up to eight bytes of a code from `byte` on, as a uint64 with zeros beyond the end."""
    if byte + 8 <= width:
        return load64(code_at + byte)
    word = np.uint64(0)
    for j in range(width - byte):
        word |= load8(code_at + byte + j) << np.uint64(8 * j)
    return word


@njit(nogil=True, cache=True)
def _transpose(square):
    """Transpose a 64 x 64 bit matrix in place: bit i of word j becomes bit j of word i."""
    half = 32
    mask = np.uint64(0x00000000FFFFFFFF)
    while half:
        shift = np.uint64(half)
        i = 0
        while i < 64:
            for low in range(i, i + half):
                swap = ((square[low] >> shift) ^ square[low + half]) & mask
                square[low] ^= swap << shift
                square[low + half] ^= swap
            i += 2 * half
        half //= 2
        mask ^= mask << np.uint64(half)
