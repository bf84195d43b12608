"""Search of a clustered database: blocks of similar codes, those that cannot hold a neighbour passed over.

Queries are taken in the order of their nearest centers. Those of a tile are then alike, so that they share nearly
all rows they add and most blocks are done for all of them at once; and the same few blocks are near to all of them,
and give every query a limit to start from.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.tile import EVERYWHERE, Tile, room_for, tiles_of
from hashneg.backends.cpu.vectors import kernel, popcount
from hashneg.backends.cpu.visit import FAR
from hashneg.backends.request import BLOCK_ROWS, Database, Search
from hashneg.progress import Meter
from hashneg.threads import run_tiles

_NEAR_ROWS = 4  # of the blocks that give the first limits, for a row wanted
_FEWEST_NEAR = 4  # such blocks
_FEWEST_FAR = 3  # other blocks for each of them, or a first limit does not pay


def topk(
    database: Database,
    layout: Layout,
    queries: np.ndarray,
    k: int,
    search: Search,
    threads: int,
    meter: Meter,
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write the k nearest allowed rows of the visited blocks by (distance, index) to `out`, which is padded."""
    assert database.clustering is not None
    centers = _as_words(database.clustering.centers)
    words, room = _as_words(queries), room_for(k, len(database.codes))
    tiles = tiles_of(len(queries), 12 * room + 4 * len(centers), threads)
    order = None
    allow = search.exclusions.allow
    if allow is None or len(allow) == 1:  # else a row of `allow` may be long, and is read in place
        nearest = np.empty(len(queries), np.int64)

        def find_nearest(part: slice) -> None:
            gaps = _gaps(words[part], centers, search.metric)
            nearest[part] = gaps.argmin(axis=1)

        run_tiles(find_nearest, tiles, threads)
        order = np.argsort(nearest, kind="stable")

    def work(part: slice) -> None:
        ids = part if order is None else order[part]
        own = replace(search, exclusions=search.exclusions.of(ids))
        gaps = _gaps(words[ids], centers, search.metric)
        out[0][ids], out[1][ids] = _search_tile(database, layout, queries[ids], k, own, room, gaps)
        meter.advance(part.stop - part.start)

    run_tiles(work, tiles, threads)


def _search_tile(
    database: Database, layout: Layout, queries: np.ndarray, k: int, search: Search, room: int, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the visited blocks for a tile; `gaps` are its distances to the centers, int32 (nq, blocks)."""
    assert database.clustering is not None
    n_blocks = gaps.shape[1]
    least = int(np.ceil(search.probe * n_blocks))
    tile = Tile(layout, queries, search, k, room)
    by_gap = gaps.sum(axis=0).argsort(kind="stable")
    visited = _without_farther(gaps, least) if least < n_blocks else EVERYWHERE
    near = max(_FEWEST_NEAR, -(-_NEAR_ROWS * k // BLOCK_ROWS))
    limits = tile.limits()
    if n_blocks >= (1 + _FEWEST_FAR) * near:
        blocks, own_gaps = _in_layout(by_gap[:near], visited, layout)
        limits = tile.guess(blocks, k, own_gaps)
        tile.start(limits)
    hopeful = _hopeful(visited if least < n_blocks else gaps, database.clustering.radii, limits)
    blocks, own_gaps = _in_layout(by_gap[hopeful[by_gap]], visited, layout)
    tile.visit(blocks, gaps=own_gaps)
    out = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
    tile.write(*out)
    for q in np.flatnonzero(tile.accepted < k) if least < n_blocks else ():
        own = replace(search, exclusions=search.exclusions.of(slice(q, q + 1)))
        alone = Tile(layout, queries[q : q + 1], own, k, room)
        nearest = gaps[q].argsort(kind="stable")
        alone.visit(_in_layout(nearest[:least], EVERYWHERE, layout)[0])
        for block in nearest[least:]:  # go on until k allowed rows are held
            if alone.accepted[0] >= k:
                break
            alone.visit(_in_layout(np.array([block]), EVERYWHERE, layout)[0])
        alone.write(out[0][q : q + 1], out[1][q : q + 1])
    return out


def _in_layout(blocks: np.ndarray, gaps: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The layout's numbers of some blocks of the clustering, and the queries' gaps to them."""
    per_block = BLOCK_ROWS // layout.lanes
    numbers = (blocks[:, np.newaxis] * per_block + np.arange(per_block)).ravel()
    return numbers, np.repeat(gaps[:, blocks], per_block, axis=1) if len(gaps) else gaps


def _as_words(codes: np.ndarray) -> np.ndarray:
    """Codes as uint64 (n, ceil(width / 8)), filled up with zeros."""
    words = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), np.uint8)
    words[:, : codes.shape[1]] = codes
    return words.view(np.uint64)


def _gaps(queries: np.ndarray, centers: np.ndarray, metric: str) -> np.ndarray:
    """Distances of codes, given as words, to centers: int32 (nq, blocks)."""
    out = np.empty((len(queries), len(centers)), np.int32)
    _fill_gaps(np.ascontiguousarray(queries), np.ascontiguousarray(centers.T), metric == "projected", out)
    return out


@kernel
def _fill_gaps(queries, centers, projected, out):
    """out[q, b]: the distance of query q to center b, which is centers[:, b]."""
    for q in range(len(queries)):
        for b in range(out.shape[1]):
            out[q, b] = 0
        for w in range(queries.shape[1]):
            word = queries[q, w]
            if projected:
                for b in range(out.shape[1]):
                    out[q, b] += np.int32(popcount(word & ~centers[w, b]))
            else:
                for b in range(out.shape[1]):
                    out[q, b] += np.int32(popcount(word ^ centers[w, b]))


def _without_farther(gaps: np.ndarray, least: int) -> np.ndarray:
    """Gaps in which those of all but the `least` nearest blocks of a query, by (gap, number), are `FAR`."""
    kept = gaps.copy()
    _drop_farther(kept, least)
    return kept


@kernel
def _drop_farther(gaps, least):
    for q in range(len(gaps)):
        low, high = np.int32(0), np.int32(0)
        for b in range(gaps.shape[1]):
            high = max(high, gaps[q, b])
        while low < high:  # bisection for the gap of the last block to keep
            middle = (low + high) >> 1
            count = 0
            for b in range(gaps.shape[1]):
                count += gaps[q, b] <= middle
            if count >= least:
                high = middle
            else:
                low = middle + 1
        ties = least
        for b in range(gaps.shape[1]):
            ties -= gaps[q, b] < low
        for b in range(gaps.shape[1]):
            if gaps[q, b] == low and ties > 0:
                ties -= 1
            elif gaps[q, b] >= low:
                gaps[q, b] = FAR


@njit(nogil=True, cache=True)
def _hopeful(gaps, radii, limits):
    """Whether a block may hold a row within the limit of any query, bool (blocks,)."""
    hopeful = np.zeros(gaps.shape[1], np.bool_)
    for q in range(len(gaps)):
        for b in range(gaps.shape[1]):
            hopeful[b] |= gaps[q, b] - radii[b] <= limits[q]
    return hopeful
