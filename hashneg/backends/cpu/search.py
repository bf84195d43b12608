"""Exact search on the CPU: tiles of queries over bit-sliced blocks, on a pool of threads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from hashneg.backends.cpu import clustered, guess, selection, visit
from hashneg.backends.cpu import layout as layouts
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.rows import select_rows
from hashneg.backends.cpu.tile import Tile, room_for, tiles_of
from hashneg.backends.request import BLOCK_ROWS, NO_DISTANCE, NO_INDEX, Database, Search
from hashneg.progress import Meter
from hashneg.threads import run_tiles

_FEW_QUERIES = 4  # not worth laying the database out for; one is not even worth reading its layout
_FEWEST_BLOCKS = 64  # of a share of the database that one thread takes


def prepare(database: Database) -> None:
    """Lay the codes out bit by bit, for many searches."""
    database.layout = layouts.build(database)


def write(database: Database, rows: np.ndarray) -> None:
    """Note in the layout that `rows` changed or were added."""
    layouts.mark(database.layout, database, rows)


def topk(
    database: Database, queries: np.ndarray, k: int, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    n = len(database.codes)
    out = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
    if not (len(queries) and n):
        meter.advance(len(queries))
        out[0][:], out[1][:] = NO_DISTANCE, NO_INDEX
        return out
    if database.clustering is not None:
        clustered.topk(database, _layout(database), queries, k, search, threads, meter, out)
        return out
    few = len(queries) <= (1 if isinstance(database.layout, Layout) else _FEW_QUERIES)
    layout = None if few else _layout(database)
    room = room_for(k, n)
    tiles = tiles_of(len(queries), 12 * room, threads)
    shares = _shares(n, -(-threads // len(tiles)))
    parts = [out] + [(np.empty_like(out[0]), np.empty_like(out[1])) for _ in shares[1:]]

    def work(task: tuple[slice, int]) -> None:
        tile, share = task
        own = replace(search, exclusions=search.exclusions.of(tile))
        written = parts[share][0][tile], parts[share][1][tile]
        if layout is None:
            select_rows(database, shares[share], queries[tile], own, k, room, *written)
        else:
            first, last = shares[share].start // layout.lanes, -(-shares[share].stop // layout.lanes)
            _select(Tile(layout, queries[tile], own, k, room), first, last, k, *written)
        if share == 0:
            meter.advance(tile.stop - tile.start)

    run_tiles(work, [(tile, share) for tile in tiles for share in range(len(shares))], threads)
    return out if len(shares) == 1 else _merged(parts, k)


def range_search(
    database: Database, queries: np.ndarray, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All allowed rows within `search.max_distance`: indptr, indices, distances. Counted first, then collected."""
    indptr = np.zeros(len(queries) + 1, np.int64)
    if not (len(queries) and len(database.codes)):
        return indptr, np.empty(0, np.int64), np.empty(0, np.int32)
    layout = _layout(database)
    blocks, in_order = np.arange(len(layout.blocks)), not len(layout.order)
    tiles = tiles_of(len(queries), 0, threads)

    def tile_of(part: slice) -> Tile:
        own = replace(search, exclusions=search.exclusions.of(part))
        return Tile(layout, queries[part], own, 0, 0)

    def count(part: slice) -> None:
        tile = tile_of(part)
        tile.visit(blocks, visit.COUNT)
        indptr[part.start + 1 : part.stop + 1] = tile.accepted

    def collect(part: slice) -> None:
        bounds = indptr[part.start : part.stop + 1]
        tile_of(part).collect(blocks, bounds, found, rows)
        for begin, end in pairwise(bounds):
            own = slice(begin, end)
            selection.sort_by_distance(
                found[own].copy(), rows[own].copy(), in_order, search.n_bits + 1, found[own], rows[own]
            )
        meter.advance(part.stop - part.start)

    run_tiles(count, tiles, threads)
    np.cumsum(indptr, out=indptr)
    found, rows = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int64)
    run_tiles(collect, tiles, threads)
    return indptr, rows, found


def _select(
    tile: Tile, first_block: int, last_block: int, k: int, out_distances: np.ndarray, out_rows: np.ndarray
) -> None:
    """The k best of some blocks for a tile, from limits guessed on a sample of them."""
    blocks, unlimited = np.arange(first_block, last_block), tile.limits()
    limits, sample = unlimited, guess.sampled_blocks(first_block, last_block)
    if len(sample):
        limits = tile.guess(sample, guess.rank_to_guess(k, len(sample), len(blocks)))
        tile.start(limits)
    tile.visit(blocks)
    tile.write(out_distances, out_rows)
    failed = (limits < unlimited) & (tile.accepted < k)
    if failed.any():  # the guess was too low
        tile.start(np.where(failed, unlimited, -1))
        tile.visit(blocks)
        found = np.empty_like(out_distances), np.empty_like(out_rows)
        tile.write(*found)
        out_distances[failed], out_rows[failed] = found[0][failed], found[1][failed]


def _layout(database: Database) -> Layout:
    """The layout that `prepare` made, up to date; another backend's is of no use here."""
    if not isinstance(database.layout, Layout):
        return layouts.build(database)
    layouts.refresh(database.layout, database)
    return database.layout


def _shares(n: int, wanted: int) -> list[slice]:
    """Cut the rows into at most `wanted` shares of whole blocks, none of them tiny."""
    n_blocks = -(-n // BLOCK_ROWS)
    count = max(1, min(wanted, n_blocks // _FEWEST_BLOCKS))
    edges = [n_blocks * i // count * BLOCK_ROWS for i in range(count + 1)]
    return [slice(start, min(stop, n)) for start, stop in pairwise(edges)]


def _merged(parts: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of shares that hold ascending rows: a stable sort by distance keeps them in order."""
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
