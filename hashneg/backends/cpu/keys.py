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


@njit(nogil=True, cache=True)
def collect(planes, words, block_at, b, n_bits, plans, q, masks, labels, order, word, marks, counters_at, keys, held):
    """Append the keys of the marked lanes of a word of block b, unless excluded; returns how many are held then."""
    base, parity, factor = plans[q, BASE], plans[q, PARITY], plans[q, FACTOR]
    even = load64(block_at + 8 * ((n_bits + 1) * len(words) + word))
    first = (b * len(words) + word) * 64
    own_labels, row_labels = labels
    while marks:
        bit = lowest_bit(marks)
        marks &= marks - np.uint64(1)
        if len(own_labels) and own_labels[q] == row_labels[first + bit]:
            continue
        row = order[first + bit]
        if masks[ANY] and selection.is_excluded(masks, q, row):
            continue
        odd = 1 - np.int64((even >> np.uint64(bit)) & np.uint64(1))
        distance = base + parity * odd + factor * lane_counter(planes, words, counters_at, word, bit)
        keys[held] = (distance << _ROW_BITS) | row
        held += 1
    return held


@njit(nogil=True, cache=True)
def shrink(keys, held, k):
    """Keep the k smallest of the first `held` keys, and return the distance of the last of them."""
    keys[:held].sort()
    return keys[k - 1] >> _ROW_BITS


@njit(nogil=True, cache=True)
def write_sorted(keys, held, k, n_levels, out_distances, out_rows):
    """Write the k smallest keys in order: a counting sort by distance, then by row among equal distances."""
    starts = np.zeros(n_levels + 1, np.int64)
    lowest, highest = n_levels, 0
    for key in keys[:held]:
        distance = key >> _ROW_BITS
        starts[distance + 1] += 1
        lowest, highest = min(lowest, distance), max(highest, distance)
    last = lowest  # the distance of the k-th; of the rows at it only the lowest are wanted
    for distance in range(lowest, highest + 1):
        if starts[distance] < k:
            last = distance
        starts[distance + 1] += starts[distance]
    n_ties = 0
    for i in range(held):
        distance = keys[i] >> _ROW_BITS
        if distance < last:
            place = starts[distance]
            starts[distance] = place + 1
            row = keys[i] & ((1 << _ROW_BITS) - 1)
            while place > 0 and out_distances[place - 1] == distance and out_rows[place - 1] > row:
                out_rows[place] = out_rows[place - 1]
                place -= 1
            out_rows[place] = row
            out_distances[starts[distance] - 1] = distance
        elif distance == last:
            keys[n_ties], keys[i] = keys[i], keys[n_ties]
            n_ties += 1
    keys[:n_ties].sort()
    for i in range(min(n_ties, k - starts[last])):
        out_distances[starts[last] + i] = last
        out_rows[starts[last] + i] = keys[i] & ((1 << _ROW_BITS) - 1)
