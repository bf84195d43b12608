"""Who is among the k best: thresholds that fall as rows are found, and the exclusions, tested on survivors.

Distances are small integers, so a query keeps a histogram of what it holds and a threshold. As soon as k
rows lie within a distance, no row beyond it is of use, and where rows come in index order, no later row at
that distance either: ties go to the lower index. About k (1 + ln(n/k)) of n rows survive the threshold.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.vectors import inlined_kernel, kernel, load8, load64
from hashneg.backends.request import NO_DISTANCE, NO_INDEX, Exclusions

# Columns of the state of a query
LIMIT = 0  # rows farther than this are of no use
BELOW = 1  # rows held within `INNER`; fewer than k
INNER = 2  # the largest distance within which fewer than k rows are held
HELD = 3  # rows in the buffer
ACCEPTED = 4  # rows ever accepted
STATE = 5

_MOST_INSERTED = 32  # more rows at a distance are sorted by a call, which costs as much as inserting so many

# Columns of the addresses of exclusions
QUERY_IDS, QUERY_LABELS, DATABASE_LABELS, EXCLUDE, EXCLUDE_WIDTH, ALLOW, ALLOW_STRIDE, ALLOW_PACKED, ANY = range(9)


class Masks:
    """Exclusions as addresses, so that kernels need one signature; keeps the arrays alive."""

    def __init__(self, exclusions: Exclusions) -> None:
        table = np.zeros(9, np.int64)
        self._arrays = [exclusions.allow]

        def address(values: np.ndarray | None) -> int:
            if values is None:
                return 0
            values = np.ascontiguousarray(values)
            self._arrays.append(values)
            return values.ctypes.data

        table[QUERY_IDS] = address(exclusions.query_ids)
        table[QUERY_LABELS] = address(exclusions.query_labels)
        table[DATABASE_LABELS] = address(exclusions.database_labels)
        if exclusions.exclude is not None:
            table[EXCLUDE] = address(exclusions.exclude)
            table[EXCLUDE_WIDTH] = exclusions.exclude.shape[1]
        if exclusions.allow is not None:
            table[ALLOW] = exclusions.allow.ctypes.data
            table[ALLOW_STRIDE] = exclusions.allow.strides[0] if len(exclusions.allow) > 1 else 0
            table[ALLOW_PACKED] = exclusions.allow_is_packed
        table[ANY] = table.any()
        self.table = table


@kernel
def is_excluded(masks, query, row):
    """Whether `row` may not be returned for `query`."""
    if masks[ALLOW]:
        line = masks[ALLOW] + query * masks[ALLOW_STRIDE]
        if masks[ALLOW_PACKED]:
            if not (load8(line + (row >> 3)) >> np.uint64(row & 7)) & np.uint64(1):
                return True
        elif not load8(line + row):
            return True
    if masks[QUERY_IDS] and np.int64(load64(masks[QUERY_IDS] + 8 * query)) == row:
        return True
    if masks[QUERY_LABELS] and load64(masks[QUERY_LABELS] + 8 * query) == load64(masks[DATABASE_LABELS] + 8 * row):
        return True
    if masks[EXCLUDE]:
        return _is_listed(masks[EXCLUDE] + 8 * query * masks[EXCLUDE_WIDTH], masks[EXCLUDE_WIDTH], row)
    return False


@kernel
def _is_listed(line, width, row):
    """Binary search in a sorted line of ids."""
    low, high = 0, width
    while low < high:
        middle = (low + high) // 2
        if np.int64(load64(line + 8 * middle)) < row:
            low = middle + 1
        else:
            high = middle
    return low < width and np.int64(load64(line + 8 * low)) == row


@njit(nogil=True, cache=True)
def start(state, histograms, limits):
    """Empty selections for all queries, which take in rows up to their limits."""
    histograms[:] = 0
    state[:] = 0
    state[:, LIMIT] = limits
    state[:, INNER] = limits


# A query is named by its number q and the place `begin` of its first entry in the buffers `distances` and
# `rows`; views of them would cost two atomic operations each, more than the work itself.


@inlined_kernel
def accept(state, histograms, q, distances, rows, begin, k, in_order, distance, row):
    """Hold a row that is within the limit, and let the limit fall. The buffer must have room.

    `in_order` says that rows come by ascending index, so that a later row loses every tie.
    """
    place = begin + state[q, HELD]
    distances[place] = distance
    rows[place] = row
    state[q, HELD] += 1
    state[q, ACCEPTED] += 1
    inner = state[q, INNER]
    if distance > inner:
        return
    histograms[q, distance] += 1
    below = state[q, BELOW] + 1
    if below >= k:
        while below >= k:
            below -= histograms[q, inner]
            inner -= 1
        state[q, INNER] = inner
        state[q, LIMIT] = inner if in_order else inner + 1
    state[q, BELOW] = below


@kernel
def compact(state, q, distances, rows, begin, k, in_order):
    """Drop what is not among the k best; in order, what stays keeps its order of arrival."""
    inner, end = state[q, INNER], begin + state[q, HELD]
    ties_wanted = k - state[q, BELOW]
    if not in_order:
        kept = _to_front(distances, rows, begin, end, inner)
        ties_end = _to_front(distances, rows, kept, end, inner + 1)
        if ties_end - kept > ties_wanted:  # the lower indices win, whenever they came
            _lowest_to_front(rows, kept, ties_end, ties_wanted)
            ties_end = kept + ties_wanted
        state[q, HELD] = ties_end - begin
        return
    kept = begin
    for i in range(begin, end):
        distance = distances[i]
        if distance == inner + 1:
            if ties_wanted == 0:
                continue
            ties_wanted -= 1
        elif distance > inner:
            continue
        distances[kept] = distance
        rows[kept] = rows[i]
        kept += 1
    state[q, HELD] = kept - begin


@kernel
def _to_front(distances, rows, begin, end, most):
    """Swap the entries within a distance to the front; returns where they end."""
    front = begin
    for i in range(begin, end):
        if distances[i] <= most:
            distances[i], distances[front] = distances[front], distances[i]
            rows[i], rows[front] = rows[front], rows[i]
            front += 1
    return front


@kernel
def _lowest_to_front(rows, begin, end, wanted):
    """Quickselect: swap the `wanted` lowest rows, all different, to the front."""
    target = begin + wanted
    while end - begin > 1:
        pivot = rows[(begin + end) // 2]
        low, high = begin, end - 1
        while low <= high:
            while rows[low] < pivot:
                low += 1
            while rows[high] > pivot:
                high -= 1
            if low <= high:
                rows[low], rows[high] = rows[high], rows[low]
                low += 1
                high -= 1
        if target <= high:
            end = high + 1
        elif target > low:
            begin = low
        else:
            break


@njit(nogil=True, cache=True)
def finish(state, distances, rows, begins, k, in_order, n_levels, out_distances, out_rows):
    """Write the k best of every query by (distance, row), padded."""
    ends = np.zeros(n_levels + 1, np.int64)
    for q in range(len(state)):
        compact(state, q, distances, rows, begins[q], k, in_order)
        held = state[q, HELD]
        _sort(distances, rows, begins[q], held, in_order, ends, out_distances[q], out_rows[q])
        out_distances[q, held:] = NO_DISTANCE
        out_rows[q, held:] = NO_INDEX


@njit(nogil=True, cache=True)
def sort_by_distance(distances, rows, in_order, n_levels, out_distances, out_rows):
    """Sort rows by (distance, row)."""
    _sort(distances, rows, 0, len(rows), in_order, np.zeros(n_levels + 1, np.int64), out_distances, out_rows)


@njit(nogil=True, cache=True)
def _sort(distances, rows, begin, count, in_order, ends, out_distances, out_rows):
    """Counting sort by distance, stable; rows that did not come by ascending index are sorted among ties.

    `ends`, int64 (levels + 1,), is scratch, of zeros before and after.
    """
    lowest, highest = len(ends) - 1, -1
    for i in range(begin, begin + count):
        ends[distances[i] + 1] += 1
        lowest, highest = min(lowest, distances[i]), max(highest, distances[i])
    for level in range(lowest, highest + 1):
        ends[level + 1] += ends[level]
    for i in range(begin, begin + count):  # ends[level] is now where the next row at this distance goes
        place = ends[distances[i]]
        ends[distances[i]] = place + 1
        out_distances[place] = distances[i]
        out_rows[place] = rows[i]
    first = 0
    for level in range(lowest, highest + 1):
        last = ends[level]
        if last - first > _MOST_INSERTED and not in_order:
            out_rows[first:last].sort()
        elif not in_order:
            for i in range(first + 1, last):
                row, place = out_rows[i], i
                while place > first and out_rows[place - 1] > row:
                    out_rows[place] = out_rows[place - 1]
                    place -= 1
                out_rows[place] = row
        first = last
    ends[lowest : highest + 2] = 0
