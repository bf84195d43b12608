"""Exact search: rounds of scanning and merging; see scan.cuh and merge.cu.

A round scans a part of the database with a limit for each query, the distance beyond which rows are of no interest,
and merges what it found into the k best rows so far, which gives the limit of the next round. The first parts are
small and grow by a constant factor, so that nearly all rows are scanned with a limit that few of them pass. In a
large database the limit comes from a sample of it, with a rank that leaves room for chance, and one round scans all
rows; a query whose limit turns out to be too small is scanned once more without one. Nothing is read back by the
host meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

import numpy as np

from hashneg.backends.cupy import device, masks
from hashneg.backends.cupy.clusters import PAIR_BYTES, Blocks, Visits
from hashneg.backends.cupy.layout import Layout, layout_kind
from hashneg.backends.cupy.scanner import Queries, Round, scan
from hashneg.backends.request import Database, Search
from hashneg.progress import Meter

KEEP, SAMPLE, CHECK = range(3)  # purposes of merge.cu

WORKSPACE_BYTES = 512 << 20  # of lists
_TILE_QUERIES = 4096
_FIRST_ROWS = 512  # of the first round, or twice k: all of them are found
_GROWTH = 4
_SAMPLE_STEP = 16  # every sixteenth tile
_SAMPLED_TILES = 16  # the fewest that make a sample
_SAMPLED_ROWS = 4  # at least this many for each that is asked for
_DEVIATIONS = 4.5  # of rows in random order a guess is then too small for about one query in 300,000 (binomial)
_MERGE_THREADS = 128


@dataclass(frozen=True)
class Step:
    """A round and what is done with what it finds."""

    round: Round
    k: int
    purpose: int


def steps(tiles: int, tile_rows: int, k: int) -> list[Step]:
    """The rounds of a search for k rows."""
    sampled = tiles // _SAMPLE_STEP
    expected = k / _SAMPLE_STEP
    rank = ceil(expected + _DEVIATIONS * sqrt(expected)) + 2
    if sampled < _SAMPLED_TILES or sampled * tile_rows < _SAMPLED_ROWS * rank or k < _SAMPLE_STEP // 2:
        return growing(tiles, tile_rows, k, 1)
    sample = growing(sampled * _SAMPLE_STEP, tile_rows, rank, _SAMPLE_STEP)
    whole = Round(0, tiles, 1)
    return [*sample[:-1], Step(sample[-1].round, rank, SAMPLE), Step(whole, k, CHECK), Step(whole, k, KEEP)]


def growing(tiles: int, tile_rows: int, k: int, step: int) -> list[Step]:
    """Rounds over every step-th tile, each of a constant factor more than all before."""
    result, done = [], 0
    part = ceil(max(_FIRST_ROWS, 2 * k) / tile_rows) * step
    while done < tiles:
        last = min(tiles, max(part, done * _GROWTH))
        result.append(Step(Round(done, last, step), k, KEEP))
        done = last
    return result


def prepare(database: Database) -> None:
    """Bring the codes into the form that scans read."""
    database.layout = _layout_of(database)


def write(database: Database, rows: np.ndarray) -> None:
    """Bring the layout up to date after `rows` changed or were added: it is made anew, which costs one copy."""
    prepare(database)


def topk(database: Database, queries: Any, k: int, search: Search, threads: int, meter: Meter) -> tuple[Any, Any]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    nq = len(queries)
    layout = _layout(database)
    with device.memory("a top-k search", nq, 12 * k + queries.shape[1], WORKSPACE_BYTES):
        distances, rows = device.empty((nq, k), "int32"), device.empty((nq, k), "int64")
        for start, stop in query_parts(nq, k, len(layout.blocks or ())):
            part = replace(search, exclusions=search.exclusions.queries(start, stop))
            run = _search_rows if layout.blocks is None else _search_blocks
            run(database, layout, queries[start:stop], k, part, distances[start:stop], rows[start:stop])
            meter.advance(stop - start)
    return distances, rows


def _search_rows(
    database: Database, layout: Layout, queries: Any, k: int, search: Search, distances: Any, rows: Any
) -> None:
    best = Best(len(queries), k, search)
    packed = Queries.of(queries, layout, search.metric == "projected")
    excluded = masks.arguments(search.exclusions)
    for step in steps(layout.tiles, layout.tile_rows, k):
        best.take(layout, packed, step, excluded)
    best.finish(distances, rows)


def _search_blocks(
    database: Database, layout: Layout, queries: Any, k: int, search: Search, distances: Any, rows: Any
) -> None:
    """The nearest blocks first, which give a limit; then the rest of the share; then on until k rows are held."""
    blocks, masked = layout.blocks, search.exclusions.allow
    visits = Visits.of(blocks, queries, search)
    order: Any = slice(None)
    if masked is None or len(masked) == 1:  # a mask for each query is read in place
        order = visits.by_neighbourhood()
        queries, visits = queries[order], visits.queries(order)
        search = replace(search, exclusions=search.exclusions.of(order))
    best = Best(len(queries), k, search, clustered=True)
    packed = Queries.of(queries, layout, search.metric == "projected")
    excluded = masks.arguments(search.exclusions)
    whole = Step(Round(0, layout.tiles, 1), k, KEEP)
    share = max(1, ceil(search.probe * len(blocks)))
    first = min(share, ceil(k / (1 << blocks.shift)) + 1)
    start = visits.nearest(first)
    best.take(layout, packed, whole, excluded, visits=visits.between(None, start))
    if first < share:
        end = visits.nearest(share)
        best.take(layout, packed, whole, excluded, visits=visits.between(start, end))
        start = end
    if share < len(blocks):
        end = visits.until_held(k, best.held, start, database, queries, search)
        best.take(layout, packed, whole, excluded, visits=visits.between(start, end))
    found = device.empty((len(queries), k), "int32"), device.empty((len(queries), k), "int64")
    best.finish(*found)
    distances[order], rows[order] = found


class Best:
    """The k best rows so far of some queries.

    Attributes
    ----------
    lists : uint64 (nq, room), in the order of the rows unless these are clustered; see lists.cuh
    held : int32 (nq,), entries of a list
    limits : int32 (nq,)
    """

    def __init__(self, nq: int, k: int, search: Search, clustered: bool = False) -> None:
        self.nq, self.k, self.search, self.clustered = nq, k, search, clustered
        self.room = best_room(k)
        self.lists = device.empty((nq, self.room), "uint64")
        self.held = device.filled((nq,), "int32", 0)
        self.limits = device.filled((nq,), "int32", search.max_distance)

    def take(
        self,
        layout: Layout,
        queries: Queries,
        step: Step,
        excluded: tuple[Any, ...],
        first_row: int = 0,
        visits: tuple[Any, ...] = (),
    ) -> None:
        found = scan(layout, queries, step.round, step.k, self.limits, WORKSPACE_BYTES, excluded, first_row, visits)
        device.launch(
            device.kernel("merge", CLUSTERED=int(self.clustered)), self.nq, _MERGE_THREADS, found.lists,
            np.int64(found.room), found.counts, np.int32(found.slices), np.int32(self.search.n_bits), np.int32(step.k),
            np.int32(step.purpose), np.int32(self.search.max_distance), self.lists, np.int64(self.room), self.held,
            self.limits,
        )  # fmt: skip

    def finish(self, distances: Any, rows: Any) -> None:
        lists, room = self.lists, self.room
        if self.clustered:  # by (distance, row)
            real = device.upload(np.arange(self.k, dtype=np.int32)) < self.held[:, None]
            lists, room = np.sort(np.where(real, lists[:, : self.k], np.uint64(2**64 - 1)), axis=1), self.k
        bins = device.empty((self.nq, self.search.n_bits + 1), "int32")
        device.launch(
            device.kernel("finish", "merge.cu"), ceil(self.nq / 4), 128, lists, device.NULL, np.int64(room),
            self.held, np.int64(self.nq), np.int32(self.search.n_bits), bins, np.int64(self.k), distances, rows,
        )  # fmt: skip


def range_search(database: Database, queries: Any, search: Search, threads: int, meter: Meter) -> tuple[Any, Any, Any]:
    """All allowed rows within `search.max_distance`: indptr, indices, distances. Counted first, then collected.

    The host reads one number, the length of the result.
    """
    nq = len(queries)
    if database.clustering is not None:  # which helps a top-k search only
        database = replace(database, clustering=None, layout=None)
    layout = _layout(database)
    with device.memory("a range search", nq, queries.shape[1], WORKSPACE_BYTES):
        whole = Round(0, layout.tiles, 1)
        parts, totals = [], device.filled((nq + 1,), "int64", 0)
        for start, stop in query_parts(nq, 1):
            tile = Queries.of(queries[start:stop], layout, search.metric == "projected")
            excluded = masks.arguments(search.exclusions.queries(start, stop))
            limits = device.filled((stop - start,), "int32", search.max_distance)
            found = scan(layout, tile, whole, 0, limits, WORKSPACE_BYTES, excluded, only_count=True)
            totals[start + 1 : stop + 1] = found.counts.sum(axis=1)
            parts.append((start, stop, tile, excluded, limits, found.counts))
        indptr = totals.cumsum()
        length = int(indptr[-1])
    with device.memory("a range search", nq, ceil(20 * length / max(1, nq)), WORKSPACE_BYTES):
        lists = device.empty((length,), "uint64")
        distances, rows = device.empty((length,), "int32"), device.empty((length,), "int64")
        for start, stop, tile, excluded, limits, counts in parts:
            ends = counts.reshape(-1).cumsum(dtype=np.int64)
            begins = ends - counts.reshape(-1) + indptr[start]
            scan(layout, tile, whole, 0, limits, WORKSPACE_BYTES, excluded, into=(lists, begins))
            bins = device.empty((stop - start, search.n_bits + 1), "int32")
            device.launch(
                device.kernel("finish", "merge.cu"), ceil((stop - start) / 4), 128, lists, indptr[start:stop],
                np.int64(0), counts.sum(axis=1, dtype=np.int32), np.int64(stop - start), np.int32(search.n_bits), bins,
                np.int64(0), distances, rows,
            )  # fmt: skip
            meter.advance(stop - start)
    return indptr, rows, distances


def _layout(database: Database) -> Layout:
    """The layout of the database, made here unless `prepare` did: another backend's is of no use."""
    return database.layout if isinstance(database.layout, Layout) else _layout_of(database)


def _layout_of(database: Database) -> Layout:
    kind, codes = layout_kind(), database.codes
    sorted_bytes = 0 if database.clustering is None else codes.shape[1] + 8  # of a row: a copy in the order of blocks
    with device.memory("a database", len(codes), kind.row_bytes(database.n_bits) + sorted_bytes):
        alive = None if database.alive is None else device.on_device(database.alive, "uint8")
        if database.clustering is None or not len(codes):
            return kind.of(codes, database.n_bits, alive)
        blocks = Blocks.of(database.clustering)
        layout = kind.of(codes[blocks.order], database.n_bits, None if alive is None else alive[blocks.order])
        layout.blocks = blocks
        return layout


def best_room(k: int) -> int:
    """Entries of a list of the best rows: k, and as many again before it is cut to k, or 1,024."""
    return k + max(k, 1024)


def query_parts(nq: int, k: int, blocks: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of the queries that are searched for at a time."""
    most = WORKSPACE_BYTES // max(8 * best_room(k), PAIR_BYTES * blocks)
    step = max(64, min(_TILE_QUERIES, most))
    return ((start, min(start + step, nq)) for start in range(0, nq, step))
