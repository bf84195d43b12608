"""The kernel that goes over blocks: count, compare, and hand survivors to the selection."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.selection import ACCEPTED, HELD, LIMIT
from hashneg.backends.cpu.vectors import GROUP, compare_block, count_block, load64, lowest_bit

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
def threshold(plan, limit, n_bits):
    """The counter value to compare with, and whether lanes of odd |x| need one more.

    Solves distance <= limit for the counter v = n_bits//2 - |x|//2 + s. The answer is "v >= threshold", or
    "not v >= threshold" where the plan is flipped.
    """
    middle = n_bits // 2
    if plan[PARITY] == 0:
        return max(0, plan[ONES] - limit), False
    if plan[FLIP]:
        slack = limit - plan[ONES]
        return middle + (slack >> 1) + 1, slack & 1 == 1
    slack = plan[ONES] - limit
    return middle + ((slack + 1) >> 1), slack & 1 == 0


@njit(nogil=True, cache=True)
def scan_block(
    planes, words, blocks, b, n_bits, numbers, plan, q, masks, query, order, k, in_order, mode, state, histogram,
    distances, rows, scratch,
):  # fmt: skip
    """Compare one query with all lanes of block b, and take in what is within its limit."""
    n_words = len(words)
    limit = state[LIMIT]
    level, needs_more = threshold(plan, limit, n_bits)
    row_bytes = 8 * n_words
    block_at = np.intp(blocks.ctypes.data) + b * blocks.shape[1] * row_bytes
    even_at = block_at + (n_bits + 1) * row_bytes
    scratch_at = np.intp(scratch.ctypes.data)
    mask_at = scratch_at + len(planes) * row_bytes
    keep_start = 0 if plan[PARITY] == 0 else -1
    count_block(
        planes, words, numbers, block_at, even_at + 2 * row_bytes, np.intp(numbers[q].ctypes.data), plan[GROUPS], keep_start,
        scratch_at,
    )  # fmt: skip
    equal_at = even_at if needs_more else np.intp(0)
    if not compare_block(planes, words, scratch_at, level, equal_at, even_at + row_bytes, plan[FLIP], mask_at):
        return
    for w in range(n_words):
        survivors = scratch[len(planes) * n_words + w]
        while survivors:
            bit = np.uint64(lowest_bit(survivors))
            survivors &= survivors - np.uint64(1)
            position = (b * n_words + w) * 64 + np.int64(bit)
            row = order[position] if len(order) else position
            if selection.is_excluded(masks, query, row):
                continue
            counter = np.uint64(0)
            for p in range(len(planes)):
                counter |= ((scratch[p * n_words + w] >> bit) & np.uint64(1)) << np.uint64(p)
            even = (load64(even_at + 8 * w) >> bit) & np.uint64(1)
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
    planes, words, blocks, first_block, last_block, n_bits, numbers, plans, masks, first_query, k, mode, state,
    histograms, begins, capacity, distances, rows,
):  # fmt: skip
    """All queries of a tile against the blocks first_block..last_block-1, in index order.

    The queries share a block while it is in the cache.
    """
    lanes = 64 * len(words)
    scratch = np.empty((len(planes) + 1) * len(words), np.uint64)
    order = np.empty(0, np.int64)
    for b in range(first_block, last_block):
        for q in range(len(plans)):
            if state[q, LIMIT] < 0:
                continue
            begin, room = begins[q], capacity[q]
            if mode == SELECT and state[q, HELD] > room - lanes:
                selection.compact(state[q], distances[begin : begin + room], rows[begin : begin + room], k, True)
            scan_block(
                planes, words, blocks, b, n_bits, numbers, plans[q], q, masks, first_query + q, order, k, True, mode,
                state[q], histograms[q], distances[begin : begin + room], rows[begin : begin + room], scratch,
            )  # fmt: skip


@njit(nogil=True, cache=True)
def scan_by_bound(
    planes, words, blocks, n_bits, numbers, plans, masks, first_query, order, bounds, visits, per_block, min_visits, k,
    state, histograms, begins, capacity, distances, rows,
):  # fmt: skip
    """Every query against the blocks of a clustered database, the most promising first.

    A block whose lower bound exceeds the limit ends the search: all later ones are no closer.
    """
    lanes = 64 * len(words)
    scratch = np.empty((len(planes) + 1) * len(words), np.uint64)
    for q in range(len(plans)):
        begin, room = begins[q], capacity[q]
        for visit in range(visits.shape[1]):
            logical = visits[q, visit]
            if bounds[q, logical] > state[q, LIMIT] or (visit >= min_visits and state[q, ACCEPTED] >= k):
                break
            for b in range(logical * per_block, (logical + 1) * per_block):
                if state[q, HELD] > room - lanes:
                    selection.compact(state[q], distances[begin : begin + room], rows[begin : begin + room], k, False)
                scan_block(
                    planes, words, blocks, b, n_bits, numbers, plans[q], q, masks, first_query + q, order, k, False,
                    SELECT, state[q], histograms[q], distances[begin : begin + room], rows[begin : begin + room],
                    scratch,
                )  # fmt: skip
