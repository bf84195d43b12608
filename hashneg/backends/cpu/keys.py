"""The k best rows where rows come in any order: each is a key, (distance, row) in one integer.

Smaller keys are better, ties included, so that selecting is plain sorting: a query collects the keys of all rows
within its limit, and when the room is full it keeps the k smallest and lowers the limit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.scan import BASE, FACTOR, PARITY
from hashneg.backends.cpu.selection import ANY
from hashneg.backends.cpu.vectors import lane_counter, load64, lowest_bit

_ROW_BITS = 40  # of a key; the bits above hold the distance


# Kernels name a query by its number: a view of its line would cost two atomic operations, more than a row does.


@njit(nogil=True, cache=True)
def collect(
    planes, words, block_at, b, n_bits, plans, q, masks, own_labels, row_labels, order, marks_at, counters_at, keys,
    held,
):  # fmt: skip
    """Append the keys of the marked lanes of block b, unless excluded, to keys[q], which must have room."""
    base, parity, factor = plans[q, BASE], plans[q, PARITY], plans[q, FACTOR]
    even_at = block_at + 8 * (n_bits + 1) * len(words)
    count = held[q]
    for w in range(len(words)):
        marks = load64(marks_at + 8 * w)
        even = load64(even_at + 8 * w)
        while marks:
            bit = lowest_bit(marks)
            marks &= marks - np.uint64(1)
            position = (b * len(words) + w) * 64 + bit
            if len(own_labels) and own_labels[q] == row_labels[position]:
                continue
            row = order[position]
            if masks[ANY] and selection.is_excluded(masks, q, row):
                continue
            odd = 1 - np.int64((even >> np.uint64(bit)) & np.uint64(1))
            distance = base + parity * odd + factor * lane_counter(planes, words, counters_at, w, bit)
            keys[q, count] = (distance << _ROW_BITS) | row
            count += 1
    held[q] = count


@njit(nogil=True, cache=True)
def shrink(keys, held, q, k):
    """Keep the k smallest keys of a query, and return the distance of the last of them."""
    keys[q, : held[q]].sort()
    held[q] = k
    return keys[q, k - 1] >> _ROW_BITS


@njit(nogil=True, cache=True)
def write_sorted(keys, held, k, n_levels, ids, out_distances, out_rows):
    """Write the k smallest keys of query q, in order, to line ids[q] of the output.

    A counting sort by distance; rows of equal distances are sorted by insertion.
    """
    starts = np.zeros(n_levels + 1, np.int64)
    only_row = (1 << _ROW_BITS) - 1
    for q in range(len(held)):
        n, out = held[q], ids[q]
        lowest, highest = n_levels, 0
        for i in range(n):
            distance = keys[q, i] >> _ROW_BITS
            starts[distance + 1] += 1
            lowest, highest = min(lowest, distance), max(highest, distance)
        last = lowest  # the distance of the k-th; of the rows at it only the lowest are wanted
        for distance in range(lowest, highest + 1):
            if starts[distance] < k:
                last = distance
            starts[distance + 1] += starts[distance]
        n_ties = 0
        for i in range(n):
            key = keys[q, i]
            distance = key >> _ROW_BITS
            if distance < last:
                end = starts[distance]
                starts[distance] = end + 1
                out_distances[out, end] = distance
                out_rows[out, end] = key & only_row
            elif distance == last:
                keys[q, n_ties] = key
                n_ties += 1
        first = starts[last]
        for i in range(1, first):
            row, distance, place = out_rows[out, i], out_distances[out, i], i
            while place > 0 and out_rows[out, place - 1] > row and out_distances[out, place - 1] == distance:
                out_rows[out, place] = out_rows[out, place - 1]
                place -= 1
            out_rows[out, place] = row
        keys[q, :n_ties].sort()
        for i in range(min(n_ties, k - first)):
            out_distances[out, first + i] = last
            out_rows[out, first + i] = keys[q, i] & only_row
        starts[lowest : highest + 2] = 0
