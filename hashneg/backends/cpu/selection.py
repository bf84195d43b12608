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

_CLASSES = 256  # of rows, by their upper bits
_MOST_INSERTED = 16 * _CLASSES  # of rows at a distance; more would be moved far even within their classes

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
    most = max(0, state[:, HELD].max())
    counts, classes = np.empty(n_levels + 1, np.int64), np.empty(_CLASSES + 1, np.int64)
    spare_distances, spare_rows = np.empty(most, np.int32), np.empty(most, np.int64)
    for q in range(len(state)):
        begin = begins[q]
        end = _within(distances, rows, begin, begin + state[q, HELD], state[q, INNER] + 1)
        held = min(k, end - begin)
        _sort(
            distances[begin:end], rows[begin:end], in_order, counts, classes, spare_distances, spare_rows,
            out_distances[q, :held], out_rows[q, :held],
        )  # fmt: skip
        out_distances[q, held:] = NO_DISTANCE
        out_rows[q, held:] = NO_INDEX


@njit(nogil=True, cache=True)
def sort_by_distance(distances, rows, in_order, n_levels, out_distances, out_rows):
    """Sort rows by (distance, row)."""
    counts, classes = np.empty(n_levels + 1, np.int64), np.empty(_CLASSES + 1, np.int64)
    spare_distances, spare_rows = np.empty(len(rows), np.int32), np.empty(len(rows), np.int64)
    _sort(distances, rows, in_order, counts, classes, spare_distances, spare_rows, out_distances, out_rows)


@kernel
def _within(distances, rows, begin, end, most):
    """Move the entries within a distance to the front, in their order; returns where they end.

    Without a branch: which entries these are cannot be foreseen.
    """
    kept = begin
    for i in range(begin, end):
        distances[kept], rows[kept] = distances[i], rows[i]
        kept += np.int64(distances[kept] <= most)
    return kept


@njit(nogil=True, cache=True)
def _sort(distances, rows, in_order, counts, classes, spare_distances, spare_rows, out_distances, out_rows):
    """Write the first entries by (distance, row), as many as there is room for: a counting sort, which is stable.

    Rows that did not come by ascending index are brought into classes by their upper bits first, so that rows at one
    distance are nearly in order. The arguments between are scratch, and what is sorted is lost.
    """
    n, room = len(rows), len(out_rows)
    lowest, highest = len(counts), -1
    for i in range(n):
        lowest, highest = min(lowest, distances[i]), max(highest, distances[i])
    counts[lowest : highest + 2] = 0
    for i in range(n):
        counts[distances[i] + 1] += 1
    for level in range(lowest, highest + 1):
        counts[level + 1] += counts[level]
    if in_order:
        for i in range(n):  # counts[level] is where the next row at this distance goes
            distance = distances[i]
            place = counts[distance]
            counts[distance] = place + 1
            if place < room:
                out_distances[place], out_rows[place] = distance, rows[i]
        return
    _to_classes(distances, rows, classes, spare_distances, spare_rows)
    for i in range(n):
        distance = spare_distances[i]
        place = counts[distance]
        counts[distance] = place + 1
        distances[place], rows[place] = distance, spare_rows[i]
    first = 0
    for level in range(lowest, highest + 1):
        last = counts[level]
        if last - first > _MOST_INSERTED:
            rows[first:last].sort()
        else:
            _insert(rows, first, last)
        first = last
    out_distances[:] = distances[:room]
    out_rows[:] = rows[:room]


@kernel
def _to_classes(distances, rows, classes, to_distances, to_rows):
    """Copy the entries in the order of the upper bits of their rows, else in their own order."""
    highest = 0
    for i in range(len(rows)):
        highest = max(highest, rows[i])
    shift = 0
    while highest >> shift >= _CLASSES:
        shift += 1
    classes[:] = 0
    for i in range(len(rows)):
        classes[(rows[i] >> shift) + 1] += 1
    for number in range(_CLASSES):
        classes[number + 1] += classes[number]
    for i in range(len(rows)):
        number = rows[i] >> shift
        place = classes[number]
        classes[number] = place + 1
        to_distances[place], to_rows[place] = distances[i], rows[i]


@kernel
def _insert(rows, first, last):
    """Sort rows first..last-1, which are nearly sorted."""
    for i in range(first + 1, last):
        row, place = rows[i], i
        while place > first and rows[place - 1] > row:
            rows[place] = rows[place - 1]
            place -= 1
        rows[place] = row
