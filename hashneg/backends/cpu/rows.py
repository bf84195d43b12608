"""Codes row by row, with the popcount instruction: the way for a few queries, which repay no layout."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.selection import HELD, LIMIT
from hashneg.backends.cpu.vectors import load8, load64, popcount


@njit(nogil=True, cache=True)
def distance_at(a, b, width, projected):
    """Distance of two codes of `width` bytes at two addresses."""
    total = 0
    whole = width // 8 * 8
    if projected:
        for j in range(0, whole, 8):
            total += popcount(load64(a + j) & ~load64(b + j))
        for j in range(whole, width):
            total += popcount(load8(a + j) & ~load8(b + j))
    else:
        for j in range(0, whole, 8):
            total += popcount(load64(a + j) ^ load64(b + j))
        for j in range(whole, width):
            total += popcount(load8(a + j) ^ load8(b + j))
    return total


@njit(nogil=True, cache=True)
def scan_rows(
    codes_at, width, first, last, queries, projected, alive, masks, k, state, histograms, begins, room, distances, rows
):
    """Select the k best of the rows first..last-1 for every query, in index order."""
    for q in range(len(queries)):
        query_at = np.intp(queries.ctypes.data) + q * width
        for row in range(first, last):
            distance = distance_at(query_at, codes_at + row * width, width, projected)
            if distance > state[q, LIMIT] or (len(alive) and not alive[row]):
                continue
            if selection.is_excluded(masks, q, row):
                continue
            if state[q, HELD] == room:
                selection.compact(state, q, distances, rows, begins[q], k, True)
            selection.accept(state, histograms, q, distances, rows, begins[q], k, True, distance, row)
