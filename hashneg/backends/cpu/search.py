"""Exact search on the CPU: tiles of queries over bit-sliced blocks, on a pool of threads."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hashneg.backends.cpu import clustered, guess, selection, visit
from hashneg.backends.cpu import layout as layouts
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.rows import scan_rows, tuple_if, words_of
from hashneg.backends.cpu.selection import Masks
from hashneg.backends.request import BLOCK_ROWS, NO_DISTANCE, NO_INDEX, Database, Search
from hashneg.progress import Meter
from hashneg.threads import run_tiles

_TILE_QUERIES = 64  # their row numbers and a block share the L1 cache
_TILE_BYTES = 32 << 20
_FEW_QUERIES = 4  # not worth laying the database out for; one is not even worth reading its layout
_FEWEST_BLOCKS = 64  # of a share of the database that one thread takes


def prepare(database: Database) -> None:
    """Lay the codes out bit by bit, for many searches."""
    database.layout = layouts.build(database)


def write(database: Database, rows: np.ndarray) -> None:
    """Bring the layout up to date after `rows` changed or were added."""
    layouts.refresh(database.layout, database, rows)


def topk(
    database: Database, queries: np.ndarray, k: int, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    out = np.full((len(queries), k), NO_DISTANCE, np.int32), np.full((len(queries), k), NO_INDEX, np.int64)
    if not (len(queries) and len(database.codes)):
        meter.advance(len(queries))
        return out
    if database.clustering is not None:
        clustered.topk(database, _layout(database), queries, k, search, threads, meter, out)
        return out
    few = len(queries) <= (1 if isinstance(database.layout, Layout) else _FEW_QUERIES)
    layout = None if few else _layout(database)
    room = min(k + max(k, 1024), len(database.codes)) + BLOCK_ROWS
    step = int(np.clip(_TILE_BYTES // (12 * room), 1, _TILE_QUERIES))
    step = max(1, min(step, -(-len(queries) // threads)))
    tiles = _tiles(len(queries), step)
    shares = _shares(len(database.codes), -(-threads // len(tiles)))
    parts = [out] + [(out[0].copy(), out[1].copy()) for _ in shares[1:]]

    def work(task: tuple[int, int, int]) -> None:
        start, stop, share = task
        tile = _Tile(database, layout, queries[start:stop], search, start, k, room)
        tile.run(shares[share], *(part[start:stop] for part in parts[share]))
        if share == 0:
            meter.advance(stop - start)

    run_tiles(work, [(*tile, share) for tile in tiles for share in range(len(shares))], threads)
    return out if len(shares) == 1 else _merged(parts, k)


def range_search(
    database: Database, queries: np.ndarray, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All allowed rows within `search.max_distance`: indptr, indices, distances. Counted first, then collected."""
    indptr = np.zeros(len(queries) + 1, np.int64)
    if not (len(queries) and len(database.codes)):
        return indptr, np.empty(0, np.int64), np.empty(0, np.int32)
    layout = _layout(database)
    step = max(1, min(_TILE_QUERIES, -(-len(queries) // threads)))
    tiles = _tiles(len(queries), step)

    def count(tile: tuple[int, int]) -> None:
        start, stop = tile
        part = _Tile(database, layout, queries[start:stop], search, start, 0, 0)
        indptr[start + 1 : stop + 1] = part.count()

    def collect(tile: tuple[int, int]) -> None:
        start, stop = tile
        part = _Tile(database, layout, queries[start:stop], search, start, 0, 0)
        part.collect(indptr[start : stop + 1], found, rows)
        meter.advance(stop - start)

    run_tiles(count, tiles, threads)
    np.cumsum(indptr, out=indptr)
    found, rows = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int64)
    run_tiles(collect, tiles, threads)
    return indptr, rows, found


class _Tile:
    """Some queries, the plans to count them by, and their selections."""

    def __init__(
        self,
        database: Database,
        layout: Layout | None,
        queries: np.ndarray,
        search: Search,
        start: int,
        k: int,
        room: int,
    ) -> None:
        self.database, self.layout, self.search, self.k = database, layout, search, k
        self.queries = np.ascontiguousarray(queries)
        self.masks = Masks(search.exclusions.queries(start, start + len(queries)))
        n = len(queries)
        self.room = room
        self.state = np.empty((n, selection.STATE), np.int64)
        self.histograms = np.empty((n, search.n_bits + 1 if k else 0), np.int32)
        self.begins = np.arange(n) * room
        self.distances = np.empty(n * room, np.int32)
        self.rows = np.empty(n * room, np.int64)
        selection.start(self.state, self.histograms, np.full(n, search.max_distance))
        if layout is not None:
            self._program = visit.program(self.queries, search, layout)

    def run(self, share: tuple[int, int], out_distances: np.ndarray, out_rows: np.ndarray) -> None:
        """The k best of the rows of a share of the database."""
        if self.layout is None:
            codes = self.database.codes
            alive = np.empty(0, bool) if self.database.alive is None else self.database.alive
            scan_rows(
                codes.ctypes.data, words_of(codes.shape[1]), codes.shape[1], *share, self.queries,
                tuple_if(self.search.metric == "projected"), alive, self.masks.table, self.k, self.state,
                self.histograms, self.begins, self.room, self.distances, self.rows,
            )  # fmt: skip
        else:
            self._select(share[0] // self.layout.lanes, -(-share[1] // self.layout.lanes))
        selection.finish(
            self.state, self.distances, self.rows, self.begins, self.k, True, self.search.n_bits + 1,
            out_distances, out_rows,
        )  # fmt: skip

    def count(self) -> np.ndarray:
        """How many rows are within the distance, int64 (n,)."""
        assert self.layout is not None
        self._scan(0, len(self.layout.blocks), visit.COUNT)
        return self.state[:, selection.ACCEPTED]

    def collect(self, indptr: np.ndarray, distances: np.ndarray, rows: np.ndarray) -> None:
        """Write the rows within the distance, sorted, to places indptr[q]..indptr[q+1]-1."""
        assert self.layout is not None
        self.begins, self.distances, self.rows = indptr[:-1].copy(), distances, rows
        self._scan(0, len(self.layout.blocks), visit.COLLECT)
        for begin, end in pairwise(indptr):
            part = slice(begin, end)
            selection.sort_by_distance(
                distances[part].copy(), rows[part].copy(), True, self.search.n_bits + 1, distances[part], rows[part]
            )

    def _select(self, first_block: int, last_block: int) -> None:
        """Scan blocks for the k best, from limits guessed on a sample of the blocks."""
        limits = self._guessed(first_block, last_block)
        selection.start(self.state, self.histograms, limits)
        self._scan(first_block, last_block, visit.SELECT)
        failed = (limits < self.search.max_distance) & (self.state[:, selection.ACCEPTED] < self.k)
        if failed.any():  # the guess was too low
            kept = self.state.copy()
            selection.start(self.state, self.histograms, np.where(failed, self.search.max_distance, -1))
            self._scan(first_block, last_block, visit.SELECT)
            self.state[~failed] = kept[~failed]

    def _guessed(self, first_block: int, last_block: int) -> np.ndarray:
        assert self.layout is not None
        limits = np.full(len(self.queries), self.search.max_distance, np.int64)
        sample = guess.sampled_blocks(first_block, last_block)
        if len(sample):
            layout, program = self.layout, self._program
            rank = guess.rank_to_guess(self.k, len(sample), last_block - first_block)
            kept = np.empty((len(limits), len(sample), (layout.planes + 1) * layout.words), np.uint64)
            marks = np.empty((2, len(sample) * layout.words), np.uint64)
            guess.guess_limits(
                *layout.shape, layout.blocks, sample, self.search.n_bits, program.nodes, program.offsets,
                program.plans, program.slots, self.masks.table, rank, self.state, kept, marks, limits,
            )  # fmt: skip
        return limits

    def _scan(self, first_block: int, last_block: int, mode: int) -> None:
        assert self.layout is not None
        program = self._program
        visit.visit_in_order(
            *self.layout.shape, self.layout.blocks, first_block, last_block, self.search.n_bits, program.nodes,
            program.offsets, program.plans, program.slots, program.work, self.masks.table, self.layout.order, self.k,
            mode, self.state, self.histograms, self.begins, self.room, self.distances, self.rows,
        )  # fmt: skip


def _layout(database: Database) -> Layout:
    """The layout that `prepare` made; another backend's is of no use here."""
    return database.layout if isinstance(database.layout, Layout) else layouts.build(database)


def _tiles(n: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def _shares(n: int, wanted: int) -> list[tuple[int, int]]:
    """Cut the rows into at most `wanted` shares of whole blocks, none of them tiny."""
    n_blocks = -(-n // BLOCK_ROWS)
    count = max(1, min(wanted, n_blocks // _FEWEST_BLOCKS))
    edges = [n_blocks * i // count * BLOCK_ROWS for i in range(count + 1)]
    return [(start, min(stop, n)) for start, stop in pairwise(edges)]


def _merged(parts: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of shares that hold ascending rows: a stable sort by distance keeps them in order."""
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
