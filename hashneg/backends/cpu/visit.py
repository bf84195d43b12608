"""A tile of queries visits a block: run the program of the tile, and hand survivors to the selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashneg.backends.cpu import forest, selection
from hashneg.backends.cpu.counting import count_rows, lane_counter
from hashneg.backends.cpu.forest import (
    BASE,
    FACTOR,
    FIRST,
    FLIP,
    LEAF,
    LEVELS,
    MORE,
    N_ROWS,
    NEXT,
    PARENT,
    PARITY,
    QUERY,
    ROOT,
    ROWS,
    SOURCE,
    TARGET,
)
from hashneg.backends.cpu.layout import Layout, aligned_zeros
from hashneg.backends.cpu.selection import ACCEPTED, ANY, HELD, LIMIT
from hashneg.backends.cpu.vectors import field, inlined_kernel, kernel, load64, lowest_bit, prefetch_into_l2
from hashneg.backends.request import Search

# What is done with a survivor
SELECT, COUNT, COLLECT = range(3)

FAR = 1 << 30  # instead of the distance to a block that a query passes over

# What a program has done so far: nodes run, rows added, survivors seen
NODES_RUN, ROWS_ADDED, SURVIVORS = range(3)


@dataclass(frozen=True)
class Program:
    """What a tile of queries does with a block; see `forest`.

    Attributes
    ----------
    nodes, offsets, plans : arrays
    slots : uint64 (slots, planes + 1, words), counters and marks from the root to the current node; slot 0 is zeros
    work : int64 (3,), counts of what was done; the tests compare them with those of the last version
    """

    nodes: np.ndarray
    offsets: np.ndarray
    plans: np.ndarray
    slots: np.ndarray
    work: np.ndarray


def program(queries: np.ndarray, search: Search, layout: Layout) -> Program:
    """Plan how a tile of queries is counted."""
    n_bits, projected, n = search.n_bits, search.metric == "projected", len(queries)
    dtype = np.uint16 if (n_bits + 1) * layout.words <= 2**16 else np.uint32
    offsets = np.empty(forest.most_offsets(n, n_bits, projected), dtype)
    plans = np.empty((n, forest.PLAN), np.int64)
    nodes = np.empty((2 * n, LEVELS + layout.planes), np.int64)
    n_nodes, n_slots = forest.plan(queries, n_bits, projected, layout.words, offsets, plans, nodes)
    slots = aligned_zeros(n_slots, layout.planes + 1, layout.words)
    used = nodes[n_nodes - 1, FIRST] // offsets.itemsize + nodes[n_nodes - 1, N_ROWS]
    return Program(nodes[:n_nodes].copy(), offsets[: max(1, used)].copy(), plans, slots, np.zeros(3, np.int64))


@kernel
def aim_all(nodes, plans, state, n_bits):
    """Set all thresholds from the limits of the queries."""
    for q in range(len(plans)):
        forest.aim(nodes, plans, q, state[q, LIMIT], n_bits)
    for i in range(len(nodes) - 1, -1, -1):
        if nodes[i, QUERY] < 0:
            forest.settle(nodes, i)


@inlined_kernel
def run_node(planes, words, offset, block_at, even_at, start_at, node_at, offsets_at, slots_at):
    """Count for a node; 0 where no lane reaches its threshold, else which words of the marks in its slot hold any.

    `offset` is any offset, for its type; the other arguments but the tuples are addresses: of the block, its row
    "even", the counters that a root starts from, the node, and the arrays.
    """
    row_bytes = 8 * len(words)
    slot_bytes = (len(planes) + 1) * row_bytes
    source = field(node_at, SOURCE)
    return count_rows(
        planes, words, offset, block_at, start_at if source == ROOT else slots_at + source * slot_bytes,
        offsets_at + field(node_at, FIRST), field(node_at, N_ROWS), node_at + 8 * LEVELS,
        even_at if field(node_at, MORE) else np.intp(0), even_at + row_bytes, field(node_at, FLIP),
        slots_at + field(node_at, TARGET) * slot_bytes,
    )  # fmt: skip


@inlined_kernel
def start_of(planes, words, even_at, slots_at, plans):
    """Where a root finds the counters to start from: those of the block, or zeros for a projected distance."""
    return slots_at if plans[0, PARITY] == 0 else even_at + 2 * 8 * len(words)


@kernel
def visit_blocks(
    planes, words, blocks, numbers, gaps, n_bits, nodes, offsets, plans, slots, work, masks, order, k, mode, state,
    histograms, begins, room, distances, rows,
):  # fmt: skip
    """Run the program of a tile on some blocks, and meanwhile fetch the rows of the next one from memory.

    Query q passes over block numbers[i] where gaps[q, i] is `FAR`, if there are gaps. Without an `order` the numbers
    must ascend.
    """
    blocks_at, nodes_at = np.intp(blocks.ctypes.data), np.intp(nodes.ctypes.data)
    slots_at, offsets_at = np.intp(slots.ctypes.data), np.intp(offsets.ctypes.data)
    row_bytes = 8 * len(words)
    block_bytes, node_bytes = blocks.shape[1] * row_bytes, 8 * nodes.shape[1]
    slot_bytes = (len(planes) + 1) * row_bytes
    n_nodes, in_order = len(nodes), len(order) == 0
    fetch_bytes = (n_bits // n_nodes + 1) * row_bytes
    aim_all(nodes, plans, state, n_bits)
    for visited in range(len(numbers)):
        b = numbers[visited]
        block_at = blocks_at + b * block_bytes
        even_at = block_at + (n_bits + 1) * row_bytes
        start_at = start_of(planes, words, even_at, slots_at, plans)
        fetched = fetched_all = np.intp(0)
        if visited + 1 < len(numbers):
            fetched = blocks_at + numbers[visited + 1] * block_bytes
            fetched_all = fetched + n_bits * row_bytes
        i = 0
        while i < n_nodes:
            if fetched < fetched_all:
                for line in range(fetched, fetched + fetch_bytes, 64):
                    prefetch_into_l2(line)
                fetched += fetch_bytes
            node_at = nodes_at + i * node_bytes
            q = field(node_at, QUERY)
            if q >= 0 and gaps.shape[1] and gaps[q, visited] == FAR:
                i += 1
                continue
            work[NODES_RUN] += 1
            work[ROWS_ADDED] += field(node_at, ROWS)
            marked = run_node(planes, words, offsets[0], block_at, even_at, start_at, node_at, offsets_at, slots_at)
            if not marked:
                i = field(node_at, NEXT)
                continue
            found_at = slots_at + field(node_at, TARGET) * slot_bytes
            i += 1
            if q < 0:
                continue
            work[SURVIVORS] += 1
            limit = state[q, LIMIT]
            if mode == SELECT and state[q, HELD] > room - 64 * len(words):
                selection.compact(state, q, distances, rows, begins[q], k, in_order)
            _take_survivors(
                planes, words, even_at, b, plans, q, masks, order, k, in_order, mode, state, histograms, begins[q],
                distances, rows, marked, found_at,
            )  # fmt: skip
            if state[q, LIMIT] != limit:
                forest.aim(nodes, plans, q, state[q, LIMIT], n_bits)
                above = nodes[plans[q, LEAF], PARENT]
                while above >= 0 and forest.settle(nodes, above):
                    above = nodes[above, PARENT]


@inlined_kernel
def _take_survivors(
    planes, words, even_at, b, plans, q, masks, order, k, in_order, mode, state, histograms, begin, distances, rows,
    marked, found_at,
):  # fmt: skip
    """Hand the marked lanes of block b to the selection, unless they are excluded."""
    n_words = len(words)
    base, parity, factor = plans[q, BASE], plans[q, PARITY], plans[q, FACTOR]
    marks_at = found_at + 8 * len(planes) * n_words
    words_left = np.uint64(marked)
    while words_left:
        w = lowest_bit(words_left)
        words_left &= words_left - np.uint64(1)
        survivors = load64(marks_at + 8 * w)
        while survivors:
            bit = lowest_bit(survivors)
            survivors &= survivors - np.uint64(1)
            position = (b * n_words + w) * 64 + bit
            row = order[position] if len(order) else position
            if masks[ANY] and selection.is_excluded(masks, q, row):
                continue
            odd = 1 - np.int64((load64(even_at + 8 * w) >> np.uint64(bit)) & np.uint64(1))
            distance = base + parity * odd + factor * lane_counter(planes, words, found_at, w, bit)
            if distance > state[q, LIMIT]:
                continue
            if mode == SELECT:
                selection.accept(state, histograms, q, distances, rows, begin, k, in_order, distance, row)
            else:
                if mode == COLLECT:
                    distances[begin + state[q, ACCEPTED]] = distance
                    rows[begin + state[q, ACCEPTED]] = row
                state[q, ACCEPTED] += 1
