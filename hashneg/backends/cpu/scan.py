"""The kernel that goes over blocks: count, compare, and hand survivors to the selection."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.selection import ACCEPTED, HELD, LIMIT
from hashneg.backends.cpu.vectors import GROUP, compare_block, count_block, lowest_bit

# What is done with a survivor
SELECT, COUNT, COLLECT = range(3)

# Columns of the plan of a query: distance = BASE + PARITY * (|x| mod 2) + FACTOR * counter
GROUPS, BASE, PARITY, FACTOR, FLIP, ONES = range(6)
PLAN = 6


@njit(nogil=True, cache=True)
def plan_queries(codes, n_bits, projected, numbers, plans):
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
                numbers[q, count] = j
                count += 1
        groups = (count + GROUP - 1) // GROUP
        for j in range(count, groups * GROUP):
            numbers[q, j] = n_bits
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
def threshold(plans, q, limit, n_bits):
    """The counter value to compare with, and whether lanes of odd |x| need one more.

    Solves distance <= limit for the counter v = n_bits//2 - |x|//2 + s. The answer is "v >= threshold", or
    "not v >= threshold" where the plan is flipped.
    """
    middle = n_bits // 2
    if plans[q, PARITY] == 0:
        return max(0, plans[q, ONES] - limit), False
    if plans[q, FLIP]:
        slack = limit - plans[q, ONES]
        return middle + (slack >> 1) + 1, slack & 1 == 1
    slack = plans[q, ONES] - limit
    return middle + ((slack + 1) >> 1), slack & 1 == 0


@njit(nogil=True, cache=True)
def reaches(planes, words, block_at, n_bits, numbers, plans, q, limit, scratch_at):
    """Count one query against one block and mark, in `scratch`, the lanes within `limit`; 0 if there is none.

    Runs once for every query and block, so it touches no array view: each would cost two atomic operations.
    """
    row_bytes = 8 * len(words)
    even_at = block_at + (n_bits + 1) * row_bytes
    numbers_at = np.intp(numbers.ctypes.data) + q * (numbers.shape[1] * numbers.itemsize)
    keep_start = 0 if plans[q, PARITY] == 0 else -1
    count_block(
        planes, words, numbers, block_at, even_at + 2 * row_bytes, numbers_at, plans[q, GROUPS], keep_start, scratch_at
    )
    level, needs_more = threshold(plans, q, limit, n_bits)
    equal_at = even_at if needs_more else np.intp(0)
    mask_at = scratch_at + len(planes) * row_bytes
    return compare_block(planes, words, scratch_at, level, equal_at, even_at + row_bytes, plans[q, FLIP], mask_at)


@njit(nogil=True, cache=True)
def take_survivors(
    planes, words, blocks, b, n_bits, plan, masks, query, order, k, in_order, mode, state, histogram, distances, rows,
    scratch,
):  # fmt: skip
    """Hand the marked lanes of block b to the selection, unless they are excluded."""
    n_planes, n_words = len(planes), len(words)
    for w in range(n_words):
        survivors = scratch[n_planes * n_words + w]
        while survivors:
            bit = np.uint64(lowest_bit(survivors))
            survivors &= survivors - np.uint64(1)
            position = (b * n_words + w) * 64 + np.int64(bit)
            row = order[position] if len(order) else position
            if selection.is_excluded(masks, query, row):
                continue
            counter = np.uint64(0)
            for p in range(n_planes):
                counter |= ((scratch[p * n_words + w] >> bit) & np.uint64(1)) << np.uint64(p)
            even = (blocks[b, n_bits + 1, w] >> bit) & np.uint64(1)
            distance = plan[BASE] + plan[PARITY] * (1 - np.int64(even)) + plan[FACTOR] * np.int64(counter)
            if distance > state[LIMIT]:
                continue
            if mode == SELECT:
                selection.accept(state, histogram, distances, rows, k, in_order, distance, row)
            else:
                if mode == COLLECT:
                    distances[state[ACCEPTED]] = distance
                    rows[state[ACCEPTED]] = row
                state[ACCEPTED] += 1


@njit(nogil=True, cache=True)
def scan_in_order(
    planes, words, blocks, first_block, last_block, n_bits, numbers, plans, masks, k, mode, state, histograms, begins,
    capacity, distances, rows,
):  # fmt: skip
    """All queries of a tile against the blocks first_block..last_block-1, in index order.

    The queries share a block while it is in the cache.
    """
    lanes = 64 * len(words)
    scratch = np.empty((len(planes) + 1) * len(words), np.uint64)
    scratch_at = np.intp(scratch.ctypes.data)
    blocks_at = np.intp(blocks.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * len(words)
    order = np.empty(0, np.int64)
    for b in range(first_block, last_block):
        for q in range(len(plans)):
            limit = state[q, LIMIT]
            if limit < 0 or not reaches(
                planes, words, blocks_at + b * block_bytes, n_bits, numbers, plans, q, limit, scratch_at
            ):
                continue
            held = slice(begins[q], begins[q] + capacity[q])
            if mode == SELECT and state[q, HELD] > capacity[q] - lanes:
                selection.compact(state[q], distances[held], rows[held], k, True)
            take_survivors(
                planes, words, blocks, b, n_bits, plans[q], masks, q, order, k, True, mode, state[q], histograms[q],
                distances[held], rows[held], scratch,
            )  # fmt: skip


@njit(nogil=True, cache=True)
def scan_by_bound(
    planes, words, blocks, n_bits, numbers, plans, masks, order, bounds, visits, per_block, min_visits, k, state,
    histograms, begins, capacity, distances, rows,
):  # fmt: skip
    """Every query against the blocks of a clustered database, the most promising first.

    A block whose lower bound exceeds the limit ends the search: all later ones are no closer.
    """
    lanes = 64 * len(words)
    scratch = np.empty((len(planes) + 1) * len(words), np.uint64)
    scratch_at = np.intp(scratch.ctypes.data)
    blocks_at = np.intp(blocks.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * len(words)
    for q in range(len(plans)):
        held = slice(begins[q], begins[q] + capacity[q])
        for visit in range(visits.shape[1]):
            near = visits[q, visit]
            if bounds[q, near] > state[q, LIMIT] or (visit >= min_visits and state[q, ACCEPTED] >= k):
                break
            for b in range(near * per_block, (near + 1) * per_block):
                if not reaches(
                    planes, words, blocks_at + b * block_bytes, n_bits, numbers, plans, q, state[q, LIMIT], scratch_at
                ):
                    continue
                if state[q, HELD] > capacity[q] - lanes:
                    selection.compact(state[q], distances[held], rows[held], k, False)
                take_survivors(
                    planes, words, blocks, b, n_bits, plans[q], masks, q, order, k, False, SELECT, state[q],
                    histograms[q], distances[held], rows[held], scratch,
                )  # fmt: skip
