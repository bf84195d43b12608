"""Some queries on their way through a database: the program to count them by, their limits and selections."""

from __future__ import annotations

import numpy as np

from hashneg.backends.cpu import guess, selection, visit
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.selection import Masks
from hashneg.backends.request import BLOCK_ROWS, Search

EVERYWHERE = np.empty((0, 0), np.int32)  # no query passes over a block
_TILE_QUERIES = 64  # their row numbers and a block share the L1 cache
_TILE_BYTES = 32 << 20


def room_for(k: int, n: int) -> int:
    """Rows that a query can hold before it has to drop some."""
    return min(k + max(k, 1024), n) + BLOCK_ROWS


def tiles_of(n_queries: int, bytes_a_query: int, threads: int) -> list[slice]:
    """Cut queries into tiles, one for every thread at least."""
    step = min(max(1, _TILE_BYTES // max(1, bytes_a_query)), _TILE_QUERIES, -(-n_queries // threads))
    return [slice(start, min(start + step, n_queries)) for start in range(0, n_queries, step)]


class Tile:
    """Queries that visit blocks together.

    Parameters
    ----------
    layout : Layout
    queries : uint8 (nq, width)
    search : Search, with the exclusions of these queries
    k : int, rows wanted; 0 to count or collect all within the limits
    room : int, rows that a query can hold
    """

    def __init__(self, layout: Layout, queries: np.ndarray, search: Search, k: int, room: int) -> None:
        n = len(queries)
        self._layout, self._search, self._k, self._room = layout, search, k, room
        self._masks = Masks(search.exclusions)
        self._program = visit.program(np.ascontiguousarray(queries), search, layout)
        self._state = np.empty((n, selection.STATE), np.int64)
        self._histograms = np.empty((n, search.n_bits + 1 if k else 0), np.int32)
        self._begins = np.arange(n) * room
        self._distances, self._rows = np.empty(n * room, np.int32), np.empty(n * room, np.int64)
        self.start(self.limits())

    @property
    def accepted(self) -> np.ndarray:
        """How many rows each query has taken since its start."""
        return self._state[:, selection.ACCEPTED]

    @property
    def work(self) -> np.ndarray:
        """What was done so far, see `visit.Program`."""
        return self._program.work

    def limits(self) -> np.ndarray:
        """The limits of the search, int64 (nq,)."""
        return np.full(len(self._state), self._search.max_distance, np.int64)

    def start(self, limits: np.ndarray) -> None:
        """Forget what is held, and take rows up to these limits; a query of limit -1 takes none."""
        selection.start(self._state, self._histograms, limits)

    def guess(self, blocks: np.ndarray, rank: int, gaps: np.ndarray = EVERYWHERE) -> np.ndarray:
        """Limits within which `rank` allowed rows of the given blocks lie, where there are so many."""
        limits, layout, program = self.limits(), self._layout, self._program
        kept = np.empty((len(limits), len(blocks), (layout.planes + 1) * layout.words), np.uint64)
        marks = np.empty((2, len(blocks) * layout.words), np.uint64)
        guess.guess_limits(
            *layout.shape, layout.blocks, blocks, gaps, self._search.n_bits, program.nodes, program.offsets,
            program.plans, program.slots, self._masks.table, layout.order, rank, self._state, kept, marks, limits,
        )  # fmt: skip
        return limits

    def visit(self, blocks: np.ndarray, mode: int = visit.SELECT, gaps: np.ndarray = EVERYWHERE) -> None:
        """Go through the given blocks of the layout, in their order.

        `gaps`, int32 (nq, blocks), tells the queries that pass over a block: their gap is `visit.FAR`.
        """
        layout, program = self._layout, self._program
        visit.visit_blocks(
            *layout.shape, layout.blocks, blocks, gaps, self._search.n_bits, program.nodes, program.offsets,
            program.plans, program.slots, program.work, self._masks.table, layout.order, self._k, mode, self._state,
            self._histograms, self._begins, self._room, self._distances, self._rows,
        )  # fmt: skip

    def write(self, out_distances: np.ndarray, out_rows: np.ndarray) -> None:
        """Write the k best by (distance, row), padded."""
        selection.finish(
            self._state, self._distances, self._rows, self._begins, self._k, not len(self._layout.order),
            self._search.n_bits + 1, out_distances, out_rows,
        )  # fmt: skip

    def collect(self, blocks: np.ndarray, indptr: np.ndarray, distances: np.ndarray, rows: np.ndarray) -> None:
        """Write all rows within the limits to places indptr[q]..indptr[q+1]-1, in the order of the blocks."""
        self._begins, self._distances, self._rows = indptr[:-1].copy(), distances, rows
        self.start(self.limits())
        self.visit(blocks, visit.COLLECT)
