"""The kernel that goes over blocks: count, compare, and hand survivors to the selection."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.selection import ACCEPTED, ANY, HELD, LIMIT
from hashneg.backends.cpu.vectors import GROUP, count_and_compare, lane_counter, load64, lowest_bit
from hashneg.backends.request import Search

# What is done with a survivor
SELECT, COUNT, COLLECT = range(3)

# Columns of the plan of a query: distance = BASE + PARITY * (|x| mod 2) + FACTOR * counter. NEEDS_MORE says
# that lanes of odd |x| must exceed the threshold; it and LEVELS, the bits of the threshold, follow the limit.
GROUPS, BASE, PARITY, FACTOR, FLIP, ONES, NEEDS_MORE, LEVELS = range(8)


def planned(queries: np.ndarray, search: Search, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The rows to add for every query, and how to read its counters; see `plan_queries`."""
    n_bits, projected = search.n_bits, search.metric == "projected"
    most = n_bits if projected else n_bits // 2
    dtype = np.uint16 if n_bits * layout.words < 2**16 else np.uint32
    offsets = np.empty((len(queries), max(GROUP, -(-most // GROUP) * GROUP)), dtype)
    plans = np.empty((len(queries), LEVELS + layout.planes), np.int64)
    plan_queries(queries, n_bits, projected, layout.words, offsets, plans)
    return offsets, plans


@njit(nogil=True, cache=True)
def plan_queries(codes, n_bits, projected, words, offsets, plans):
    """Choose the rows to add for every query, padded with the row of zeros to full groups.

    With s rows set among the query's ones, H = |q| + |x| - 2 s; with s of those among its zeros,
    H = |q| - |x| + 2 s. The fewer of the two are added. The projected distance is |q| - s.
    """
    middle = n_bits // 2
    for q in range(len(codes)):
        ones = 0
        for j in range(n_bits):
            ones += (codes[q, j >> 3] >> (j & 7)) & 1
        flipped = not projected and 2 * ones > n_bits
        wanted = 0 if flipped else 1
        count = 0
        for j in range(n_bits):
            if (codes[q, j >> 3] >> (j & 7)) & 1 == wanted:
                offsets[q, count] = j * words
                count += 1
        groups = (count + GROUP - 1) // GROUP
        for j in range(count, groups * GROUP):
            offsets[q, j] = n_bits * words
        plans[q, GROUPS] = groups
        plans[q, ONES] = ones
        plans[q, FLIP] = -1 if flipped else 0
        if projected:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones, 0, -1
        elif flipped:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones - 2 * middle, -1, 2
        else:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones + 2 * middle, 1, -2


@njit(nogil=True, cache=True)
def aim(plans, q, limit, n_bits):
    """Set the threshold of a query: solve distance <= limit for v = n_bits//2 - |x|//2 + s.

    The answer is "v >= threshold", or "not v >= threshold" where the plan is flipped.
    """
    middle = n_bits // 2
    if plans[q, PARITY] == 0:
        threshold, needs_more = max(0, plans[q, ONES] - limit), False
    elif plans[q, FLIP]:
        slack = limit - plans[q, ONES]
        threshold, needs_more = middle + (slack >> 1) + 1, slack & 1 == 1
    else:
        slack = plans[q, ONES] - limit
        threshold, needs_more = middle + ((slack + 1) >> 1), slack & 1 == 0
    plans[q, NEEDS_MORE] = needs_more
    for p in range(plans.shape[1] - LEVELS):
        plans[q, LEVELS + p] = ((threshold >> p) & 1) - 1


@njit(nogil=True, cache=True)
def reaches(planes, words, block_at, n_bits, offsets, plans, q, scratch_at):
    """Whether any lane of a block is within the limit of a query; it is then marked in the scratch."""
    row_bytes = 8 * len(words)
    even_at = block_at + (n_bits + 1) * row_bytes
    chosen_at = np.intp(offsets.ctypes.data) + q * (offsets.shape[1] * offsets.itemsize)
    levels_at = np.intp(plans.ctypes.data) + 8 * (q * plans.shape[1] + LEVELS)
    keep_start = 0 if plans[q, PARITY] == 0 else -1
    equal_at = even_at if plans[q, NEEDS_MORE] else np.intp(0)
    return count_and_compare(
        planes, words, offsets, block_at, even_at + 2 * row_bytes, keep_start, chosen_at, plans[q, GROUPS], levels_at,
        equal_at, even_at + row_bytes, plans[q, FLIP], scratch_at,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def take_survivors(
    planes, words, block_at, b, n_bits, plans, q, masks, order, k, in_order, mode, state, histograms, begin, distances,
    rows, scratch_at,
):  # fmt: skip
    """Hand the marked lanes of block b to the selection, unless they are excluded."""
    limit, n_words = state[q, LIMIT], len(words)
    base, parity, factor = plans[q, BASE], plans[q, PARITY], plans[q, FACTOR]
    marks_at = scratch_at + 8 * len(planes) * n_words
    even_at = block_at + 8 * (n_bits + 1) * n_words
    for w in range(n_words):
        survivors = load64(marks_at + 8 * w)
        while survivors:
            bit = lowest_bit(survivors)
            survivors &= survivors - np.uint64(1)
            position = (b * n_words + w) * 64 + bit
            row = order[position] if len(order) else position
            if masks[ANY] and selection.is_excluded(masks, q, row):
                continue
            odd = 1 - np.int64((load64(even_at + 8 * w) >> np.uint64(bit)) & np.uint64(1))
            distance = base + parity * odd + factor * lane_counter(planes, words, scratch_at, w, bit)
            if distance > state[q, LIMIT]:
                continue
            if mode == SELECT:
                selection.accept(state, histograms, q, distances, rows, begin, k, in_order, distance, row)
            else:
                if mode == COLLECT:
                    distances[begin + state[q, ACCEPTED]] = distance
                    rows[begin + state[q, ACCEPTED]] = row
                state[q, ACCEPTED] += 1
    if state[q, LIMIT] != limit:
        aim(plans, q, state[q, LIMIT], n_bits)


@njit(nogil=True, cache=True)
def scan_in_order(
    planes, words, blocks, first_block, last_block, step, n_bits, offsets, plans, masks, k, mode, state, histograms,
    begins, room, distances, rows, scratch,
):  # fmt: skip
    """All queries of a tile against every `step`-th of the blocks first_block..last_block-1, in index order.

    The queries share a block while it is in the cache.
    """
    n_words = len(words)
    scratch_at, blocks_at = np.intp(scratch.ctypes.data), np.intp(blocks.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * n_words
    order = np.empty(0, np.int64)
    for q in range(len(plans)):
        aim(plans, q, state[q, LIMIT], n_bits)
    for b in range(first_block, last_block, step):
        for q in range(len(plans)):
            if state[q, LIMIT] < 0 or not reaches(
                planes, words, blocks_at + b * block_bytes, n_bits, offsets, plans, q, scratch_at
            ):
                continue
            if mode == SELECT and state[q, HELD] > room - 64 * n_words:
                selection.compact(state, q, distances, rows, begins[q], k, True)
            take_survivors(
                planes, words, blocks_at + b * block_bytes, b, n_bits, plans, q, masks, order, k, True, mode, state,
                histograms, begins[q], distances, rows, scratch_at,
            )  # fmt: skip
