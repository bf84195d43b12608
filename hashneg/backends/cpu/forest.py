"""Queries of a tile share what they have in common: trees of sets of rows, counted once.

A query is the set of rows to add up: its ones, or its zeros where they are fewer. Two queries that have rows in
common become the children of a node that adds the common rows; each child starts from the node's counters and adds
the rest. Nodes pair up in turn. Random codes share a quarter of the rows that way, similar ones nearly all.

A node also has a threshold: the loosest of its children's, less the rows they still add. Where no lane of a
block reaches it, no query below the node has a neighbour there, and the whole subtree is passed over.

The trees of a tile are a program: an array of nodes in the order in which they run, a parent before its children.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu.counting import ROWS_AT_ONCE
from hashneg.backends.cpu.vectors import kernel, lowest_bit, popcount

# Columns of a node. It starts from the counters in slot SOURCE, adds N_ROWS rows, whose offsets begin FIRST bytes
# behind the first of all and of which ROWS are not padding, and leaves its counters in slot TARGET. NEXT is the node
# behind its subtree, QUERY the query of a leaf, else -1, PARENT a node or -1. Marked are the lanes that reach
# THRESHOLD; where MORE is set those of odd |x| must exceed it; where FLIP is -1 the others are marked. LEVELS are the
# bits of the threshold, a word each.
FIRST, N_ROWS, ROWS, SOURCE, TARGET, NEXT, QUERY, PARENT, FLIP, MORE, THRESHOLD, LEVELS = range(12)

# Columns of the plan of a query: distance = BASE + PARITY * (|x| mod 2) + FACTOR * counter.
BASE, PARITY, FACTOR, ONES, FLIPPED, LEAF = range(6)
PLAN = 6

ROOT = 0  # the slot that stands for the start values of a block
_FEWEST_SHARED = 24  # a node costs as much as adding about so many rows
_MOST_ROUNDS = 8  # of pairing up


@njit(nogil=True, cache=True)
def plan(codes, n_bits, projected, row_words, offsets, plans, nodes):
    """Fill the program of a tile of queries: returns its numbers of nodes and of slots.

    With s rows set among the query's ones, H = |q| + |x| - 2 s; with s of those among its zeros,
    H = |q| - |x| + 2 s. The fewer of the two are added. The projected distance is |q| - s.

    Parameters
    ----------
    codes : uint8 (nq, width)
    row_words : int, words of a row of a block
    offsets : uint16 or uint32, filled with the places of rows, in words; long enough for `most_offsets`
    plans : int64 (nq, PLAN), filled
    nodes : int64 (2 nq, LEVELS + planes), filled; thresholds are left to `aim` and `settle`
    """
    nq, middle, width = len(codes), n_bits // 2, codes.shape[1]
    set_words = (width + 7) // 8
    sets = np.zeros((2 * nq, set_words), np.uint64)
    children = np.full((2 * nq, 2), -1)
    n_sets = nq
    roots, n_roots = np.empty(nq, np.int64), 0
    for q in range(nq):
        for byte in range(width):
            sets[q, byte // 8] |= np.uint64(codes[q, byte]) << np.uint64(8 * (byte % 8))
        ones = _size(sets, q)
        flipped = not projected and 2 * ones > n_bits
        if flipped:
            for w in range(set_words):
                sets[q, w] = ~sets[q, w] & (~np.uint64(0) >> np.uint64(max(0, 64 * (w + 1) - n_bits)))
        plans[q, ONES] = ones
        plans[q, FLIPPED] = -1 if flipped else 0
        if projected:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones, 0, -1
        elif flipped:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones - 2 * middle, -1, 2
        else:
            plans[q, BASE], plans[q, PARITY], plans[q, FACTOR] = ones + 2 * middle, 1, -2
    active = np.empty(nq, np.int64)
    for flip in (0, -1):
        n_active = 0
        for q in range(nq):
            if plans[q, FLIPPED] == flip:
                active[n_active] = q
                n_active += 1
        for _ in range(_MOST_ROUNDS):
            before = n_sets
            n_active, n_sets = _pair_up(sets, children, active, n_active, n_sets)
            if n_sets == before:
                break
        roots[n_roots : n_roots + n_active] = active[:n_active]
        n_roots += n_active
    return _write(sets, children, roots[:n_roots], nq, n_bits, row_words, offsets, plans, nodes)


@kernel
def aim(nodes, plans, q, limit, n_bits):
    """Set the threshold of a query: solve distance <= limit for v = n_bits//2 - |x|//2 + s.

    The answer is "v >= threshold", or "not v >= threshold" where the query is flipped.
    """
    middle, more = n_bits // 2, False
    if plans[q, PARITY] == 0:
        threshold = max(0, plans[q, ONES] - limit)
    elif plans[q, FLIPPED]:
        slack = limit - plans[q, ONES]
        threshold, more = middle + (slack >> 1) + 1, slack & 1 == 1
    else:
        slack = plans[q, ONES] - limit
        threshold, more = middle + ((slack + 1) >> 1), slack & 1 == 0
    _set_threshold(nodes, plans[q, LEAF], threshold, more)


@kernel
def settle(nodes, i):
    """Set the threshold of a node from its children's; returns whether it changed."""
    loosest, child = np.int64(-1), i + 1
    while child < nodes[i, NEXT]:
        if nodes[i, FLIP]:  # marked are the lanes below the threshold, and rows only raise a counter
            loosest = max(loosest, nodes[child, THRESHOLD] + nodes[child, MORE])
        else:
            needed = max(0, nodes[child, THRESHOLD] - nodes[child, ROWS])
            loosest = needed if loosest < 0 else min(loosest, needed)
        child = nodes[child, NEXT]
    if loosest == nodes[i, THRESHOLD]:
        return False
    _set_threshold(nodes, i, loosest, False)
    return True


@kernel
def most_offsets(nq, n_bits, projected):
    """Room for the offsets of any tile of queries."""
    return nq * (n_bits if projected else n_bits // 2) + 2 * nq * ROWS_AT_ONCE


@kernel
def _set_threshold(nodes, i, threshold, more):
    nodes[i, THRESHOLD], nodes[i, MORE] = threshold, more
    for p in range(nodes.shape[1] - LEVELS):
        nodes[i, LEVELS + p] = ((threshold >> p) & 1) - 1


@kernel
def _pair_up(sets, children, active, n_active, n_sets):
    """Join every active set with the one that shares most with it, in order, where that pays.

    Returns the new numbers of active and of all sets.
    """
    kept = 0
    for i in range(n_active):
        a = active[i]
        if a < 0:
            continue
        best, most = -1, _FEWEST_SHARED - 1
        for j in range(i + 1, n_active):
            if active[j] >= 0:
                shared = 0
                for w in range(sets.shape[1]):
                    shared += popcount(sets[a, w] & sets[active[j], w])
                if shared > most:
                    best, most = j, shared
        if best < 0:
            active[kept] = a
        else:
            for w in range(sets.shape[1]):
                sets[n_sets, w] = sets[a, w] & sets[active[best], w]
            children[n_sets, 0], children[n_sets, 1] = a, active[best]
            active[best] = -1
            active[kept] = n_sets
            n_sets += 1
        kept += 1
    return kept, n_sets


@njit(nogil=True, cache=True)
def _write(sets, children, roots, nq, n_bits, row_words, offsets, plans, nodes):
    """Write the trees as a program, parents before children; returns the numbers of nodes and of slots."""
    waiting, parents = np.empty(len(sets), np.int64), np.empty(len(sets), np.int64)
    n_nodes, n_offsets, n_slots = 0, 0, 2
    number = np.full(len(sets), -1)  # the node of a set
    for root in roots:
        waiting[0], parents[0], n_waiting = root, -1, 1
        while n_waiting:
            n_waiting -= 1
            own, parent = waiting[n_waiting], parents[n_waiting]
            node = nodes[n_nodes]
            number[own] = n_nodes
            first = n_offsets
            node[FIRST] = first * offsets.itemsize
            node[PARENT] = -1 if parent < 0 else number[parent]
            node[SOURCE] = ROOT if parent < 0 else nodes[number[parent], TARGET]
            node[TARGET] = node[SOURCE] + 1
            n_slots = max(n_slots, node[TARGET] + 1)
            node[QUERY] = own if own < nq else -1
            leaf = own
            while leaf >= nq:
                leaf = children[leaf, 0]
            node[FLIP] = plans[leaf, FLIPPED]
            node[THRESHOLD], node[NEXT] = -1, 0
            for w in range(sets.shape[1]):
                bits = sets[own, w] if parent < 0 else sets[own, w] & ~sets[parent, w]
                while bits:
                    offsets[n_offsets] = (64 * w + lowest_bit(bits)) * row_words
                    bits &= bits - np.uint64(1)
                    n_offsets += 1
            node[ROWS] = n_offsets - first
            while (n_offsets - first) % ROWS_AT_ONCE:
                offsets[n_offsets] = n_bits * row_words  # a row of zeros
                n_offsets += 1
            node[N_ROWS] = n_offsets - first
            if own < nq:
                plans[own, LEAF] = n_nodes
            else:
                for side in (1, 0):
                    waiting[n_waiting], parents[n_waiting] = children[own, side], own
                    n_waiting += 1
            n_nodes += 1
    for i in range(n_nodes - 1, -1, -1):  # the subtree of a node ends where that of its last child does
        nodes[i, NEXT] = max(i + 1, nodes[i, NEXT])
        if nodes[i, PARENT] >= 0:
            parent = nodes[i, PARENT]
            nodes[parent, NEXT] = max(nodes[parent, NEXT], nodes[i, NEXT])
    return n_nodes, n_slots


@kernel
def _size(sets, i):
    count = 0
    for w in range(sets.shape[1]):
        count += popcount(sets[i, w])
    return count
