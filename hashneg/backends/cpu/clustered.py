"""Search of a clustered database: blocks of similar codes, those that cannot hold a neighbour passed over.

Queries are taken in the order of their nearest centers. A tile of them is then near the same few blocks, which give
every query a limit to start from, and far from the same others, and what it visits is in the cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import keys as held_keys
from hashneg.backends.cpu import scan
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.scan import BASE, FACTOR, FLIP, PARITY, aim, reaches
from hashneg.backends.cpu.selection import Masks
from hashneg.backends.cpu.vectors import popcount
from hashneg.backends.request import BLOCK_ROWS, Clustering, Database, Search
from hashneg.progress import Meter
from hashneg.threads import run_tiles

_TILE_QUERIES = 256
_TILE_BYTES = 32 << 20
_GROUP_QUERIES = 64  # of a tile, which take their first limits from the same blocks
_MOST_NEAR_BLOCKS = 8  # that give the first limits
_NEAR_ROWS = 32  # of them for a neighbour wanted
_FEWEST_NEAR_BLOCKS = 4
_FAR = np.int32(1 << 30)  # instead of the distance of a block that is not to be visited (any more)
_LABEL_ROWS = 256  # a query may cost: labels are put into the order of the blocks for so many rows each


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
    room = min(k + max(3 * k, 1024), len(database.codes)) + BLOCK_ROWS
    step = int(np.clip(_TILE_BYTES // (8 * room + 4 * len(centers)), 1, _TILE_QUERIES))
    step = max(1, min(step, -(-len(queries) // threads)))
    starts = range(0, len(queries), step)
    words = _as_words(queries)
    nearest = np.empty(len(queries), np.int64)

    def find_nearest(start: int) -> None:
        part = slice(start, start + step)
        nearest[part] = _nearest(np.ascontiguousarray(words[part].T), centers, search.metric == "projected")

    run_tiles(find_nearest, starts, threads)
    order = np.argsort(nearest, kind="stable")
    if search.exclusions.allow is not None and len(search.exclusions.allow) > 1:
        order = np.arange(len(queries))  # a row of `allow` may be long, and is read in place
    row_labels = search.exclusions.database_labels
    if row_labels is not None and len(queries) * _LABEL_ROWS >= len(row_labels):
        row_labels = row_labels[layout.order]  # those of a block side by side
    else:
        row_labels = None
    spare: list[_Workspace] = []

    def work(start: int) -> None:
        ids = order[start : start + step]
        space = spare.pop() if spare else _Workspace(step, room, len(centers), layout)
        tile = _Tile(database, layout, queries, words, ids, k, search, row_labels, space)
        tile.run(centers, *out)
        spare.append(space)
        meter.advance(len(ids))

    run_tiles(work, starts, threads)


class _Workspace:
    """What one thread needs, tile after tile."""

    def __init__(self, n: int, room: int, n_centers: int, layout: Layout) -> None:
        self.keys = np.empty((n, room), np.int64)
        self.gaps = np.empty((n_centers, n), np.int32)
        near = _MOST_NEAR_BLOCKS * (BLOCK_ROWS // layout.lanes)
        self.kept = np.empty((min(n, _GROUP_QUERIES), near, (layout.planes + 1) * layout.words), np.uint64)
        self.marks = np.empty((2, near, layout.words), np.uint64)


class _Tile:
    """Some queries of similar codes."""

    def __init__(
        self,
        database: Database,
        layout: Layout,
        queries: np.ndarray,
        words: np.ndarray,
        ids: np.ndarray,
        k: int,
        search: Search,
        row_labels: np.ndarray | None,
        space: _Workspace,
    ) -> None:
        assert database.clustering is not None
        self.clusters: Clustering = database.clustering
        self.layout, self.search, self.ids, self.k = layout, search, ids, k
        self.words = np.ascontiguousarray(words[ids].T)
        allow = search.exclusions.allow
        in_place = allow is not None and len(allow) > 1  # the tile is then of consecutive queries
        exclusions = search.exclusions.of(slice(ids[0], ids[-1] + 1) if in_place else ids)
        self.own_labels = self.row_labels = np.empty(0, np.int64)
        if row_labels is not None and exclusions.query_labels is not None:
            self.own_labels, self.row_labels = exclusions.query_labels, row_labels
            exclusions = exclusions.without_labels()
        self.masks = Masks(exclusions)
        self.offsets, self.plans = scan.planned(np.ascontiguousarray(queries[ids]), search, layout)
        self.limits = np.full(len(ids), search.max_distance, np.int64)
        self.held = np.zeros(len(ids), np.int64)
        self.keys, self.kept, self.marks = space.keys[: len(ids)], space.kept, space.marks
        self.gaps = space.gaps.reshape(-1)[: len(self.clusters.centers) * len(ids)].reshape(-1, len(ids))

    def run(self, centers: np.ndarray, out_distances: np.ndarray, out_rows: np.ndarray) -> None:
        """Search, and write the rows `ids` of the output."""
        _distances_to(self.words, centers, self.search.metric == "projected", self.gaps)
        least = int(np.ceil(self.search.probe * len(centers)))
        if least < len(centers):
            _drop_farther(self.gaps, least)
        near = int(np.clip(_NEAR_ROWS * self.k // BLOCK_ROWS, _FEWEST_NEAR_BLOCKS, _MOST_NEAR_BLOCKS))
        if near * BLOCK_ROWS >= 2 * self.k and len(centers) >= 4 * near:
            _visit_near(*self._common(), self.keys, self.held, self.limits, self.gaps, near, self.kept, self.marks)
        scratch = np.empty((self.layout.planes + 1) * self.layout.words, np.uint64)
        _visit_all(*self._common(), self.keys, self.held, self.limits, self.gaps, self.clusters.radii, scratch)
        for q in np.flatnonzero(self.held < self.k) if least < len(centers) else ():
            gaps = np.empty((len(centers), 1), np.int32)
            _distances_to(self.words[:, q : q + 1].copy(), centers, self.search.metric == "projected", gaps)
            farther = np.argsort(gaps[:, 0], kind="stable")[least:]
            _visit_on(*self._common(), self.keys, self.held, self.limits, q, farther, scratch)
        held_keys.write_sorted(self.keys, self.held, self.k, self.search.n_bits + 1, self.ids, out_distances, out_rows)

    def _common(self) -> tuple:
        layout = self.layout
        return (
            *layout.shape, layout.blocks, self.search.n_bits, self.offsets, self.plans, self.masks.table,
            self.own_labels, self.row_labels, layout.order, self.clusters.size // layout.lanes, self.k,
        )  # fmt: skip


def _as_words(codes: np.ndarray) -> np.ndarray:
    """Codes as uint64 (n, ceil(width / 8)), filled up with zeros."""
    words = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), np.uint8)
    words[:, : codes.shape[1]] = codes
    return words.view(np.uint64)


@njit(nogil=True, cache=True)
def _distances_to(queries, centers, projected, out):
    """out[b, q]: the distance of query q, which is queries[:, q], to centers[b]."""
    total = np.empty(queries.shape[1], np.int64)
    for b in range(len(centers)):
        total[:] = 0
        for w in range(len(queries)):
            center, row = centers[b, w], queries[w]
            if projected:
                for q in range(len(row)):
                    total[q] += popcount(row[q] & ~center)
            else:
                for q in range(len(row)):
                    total[q] += popcount(row[q] ^ center)
        line = out[b]
        for q in range(len(total)):
            line[q] = total[q]


@njit(nogil=True, cache=True)
def _nearest(queries, centers, projected):
    """The number of the nearest center of every query."""
    n = queries.shape[1]
    distances, best, nearest = np.empty((1, n), np.int32), np.full(n, _FAR, np.int32), np.zeros(n, np.int64)
    for b in range(len(centers)):
        _distances_to(queries, centers[b : b + 1], projected, distances)
        for q in range(n):
            if distances[0, q] < best[q]:
                best[q], nearest[q] = distances[0, q], b
    return nearest


@njit(nogil=True, cache=True)
def _drop_farther(gaps, least):
    """Set the distances of all but the `least` nearest blocks of a query, by (distance, number), to `_FAR`."""
    n = gaps.shape[1]
    count, middle = np.zeros(n, np.int32), np.zeros(n, np.int32)
    low, high = np.zeros(n, np.int32), np.zeros(n, np.int32)
    for b in range(len(gaps)):
        line = gaps[b]
        for q in range(n):
            high[q] = max(high[q], line[q])
    widest = high.max() + 1
    while widest > 0:  # bisection for the distance of the last block to keep
        for q in range(n):
            middle[q] = (low[q] + high[q]) >> 1
        count[:] = 0
        for b in range(len(gaps)):
            line = gaps[b]
            for q in range(n):
                count[q] += line[q] <= middle[q]
        for q in range(n):
            if low[q] < high[q]:
                if count[q] >= least:
                    high[q] = middle[q]
                else:
                    low[q] = middle[q] + 1
        widest >>= 1
    count[:] = least
    for b in range(len(gaps)):
        line = gaps[b]
        for q in range(n):
            count[q] -= line[q] < low[q]
    for b in range(len(gaps)):
        line = gaps[b]
        for q in range(n):
            if line[q] >= low[q]:
                if line[q] > low[q] or count[q] <= 0:
                    line[q] = _FAR
                else:
                    count[q] -= 1


@njit(nogil=True, cache=True)
def _visit(
    planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys, held,
    limits, near, visitors, n_visitors, scratch_at,
):  # fmt: skip
    """Some queries against block `near` of the clustering, which is `per_block` blocks of the layout."""
    n_words = len(words)
    block_bytes = blocks.shape[1] * 8 * n_words
    for b in range(near * per_block, (near + 1) * per_block):
        block_at = np.intp(blocks.ctypes.data) + b * block_bytes
        for i in range(n_visitors):
            q = visitors[i]
            if not reaches(planes, words, block_at, n_bits, offsets, plans, q, scratch_at):
                continue
            if held[q] > keys.shape[1] - 64 * n_words:
                limits[q] = held_keys.shrink(keys, held, q, k)
                aim(plans, q, limits[q], n_bits)
            held_keys.collect(
                planes, words, block_at, b, n_bits, plans, q, masks, own_labels, row_labels, order,
                scratch_at + 8 * len(planes) * n_words, scratch_at, keys, held,
            )  # fmt: skip


@njit(nogil=True, cache=True)
def _visit_all(
    planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys, held,
    limits, gaps, radii, scratch,
):  # fmt: skip
    """All queries against the blocks that may hold a row within their limits."""
    visitors = np.empty(len(plans), np.int64)
    for q in range(len(plans)):
        aim(plans, q, limits[q], n_bits)
    for b in range(len(gaps)):
        count, radius = 0, radii[b]
        for q in range(len(plans)):
            visitors[count] = q
            count += gaps[b, q] - radius <= limits[q]
        if count:
            _visit(
                planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys,
                held, limits, b, visitors, count, np.intp(scratch.ctypes.data),
            )  # fmt: skip


@njit(nogil=True, cache=True)
def _visit_on(
    planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys, held,
    limits, q, farther, scratch,
):  # fmt: skip
    """Query q against further blocks, one after the other, until it holds k rows."""
    visitors = np.full(1, q)
    aim(plans, q, limits[q], n_bits)
    for b in farther:
        if held[q] >= k:
            break
        _visit(
            planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys,
            held, limits, b, visitors, 1, np.intp(scratch.ctypes.data),
        )  # fmt: skip


@njit(nogil=True, cache=True)
def _visit_near(
    planes, words, blocks, n_bits, offsets, plans, masks, own_labels, row_labels, order, per_block, k, keys, held,
    limits, gaps, n_near, kept, marks,
):  # fmt: skip
    """Take k rows for every query from the blocks nearest to its group, and limit it to the farthest of them.

    The counters of all lanes are kept, and the nearest lanes are found by going down their planes, all lanes at once.
    """
    n_words, n_planes, slot_words = len(words), len(planes), kept.shape[2]
    blocks_at, kept_at = np.intp(blocks.ctypes.data), np.intp(kept.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * n_words
    n_slots = n_near * per_block
    sums = np.empty(len(gaps), np.int64)
    numbers = np.empty(n_slots, np.int64)
    for first in range(0, len(plans), _GROUP_QUERIES):
        group = range(first, min(first + _GROUP_QUERIES, len(plans)))
        for b in range(len(gaps)):
            sums[b] = 0
            for q in group:
                sums[b] += gaps[b, q]
        nearest = np.argsort(sums)[:n_near]
        for s in range(n_slots):
            numbers[s] = nearest[s // per_block] * per_block + s % per_block
            for q in group:
                slot_at = kept_at + 8 * slot_words * ((q - first) * kept.shape[1] + s)
                if s == 0:
                    aim(plans, q, limits[q], n_bits)
                if gaps[nearest[s // per_block], q] == _FAR or not reaches(
                    planes, words, blocks_at + numbers[s] * block_bytes, n_bits, offsets, plans, q, slot_at
                ):
                    kept[q - first, s, n_planes * n_words :] = np.uint64(0)
        for q in group:
            wanted = k + 2
            while held[q] < k:
                enough, counter = _mark_nearest(
                    kept, q - first, n_slots, n_planes, n_words, plans[q, FLIP], wanted, marks
                )
                if not enough:
                    held[q] = 0
                    break
                held[q] = 0
                for s in range(n_slots):
                    block_at = blocks_at + numbers[s] * block_bytes
                    if held[q] > keys.shape[1] - 64 * n_words:
                        held_keys.shrink(keys, held, q, k)
                    held_keys.collect(
                        planes, words, block_at, numbers[s], n_bits, plans, q, masks, own_labels, row_labels, order,
                        np.intp(marks.ctypes.data) + 8 * n_words * (marks.shape[1] + s),
                        kept_at + 8 * slot_words * ((q - first) * kept.shape[1] + s), keys, held,
                    )  # fmt: skip
                wanted *= 2
            if held[q]:
                limits[q] = min(limits[q], plans[q, BASE] + max(0, plans[q, PARITY]) + plans[q, FACTOR] * counter)
                for b in nearest:
                    gaps[b, q] = _FAR


@njit(nogil=True, cache=True)
def _mark_nearest(kept, q, n_slots, n_planes, n_words, flipped, wanted, marks):
    """Mark the `wanted` lanes of nearest counters, with all ties, in marks[1].

    Returns whether there are so many, and the counter of the last of them.
    """
    candidates, chosen = marks[0], marks[1]
    flip, total = np.uint64(flipped), 0
    for s in range(n_slots):
        for w in range(n_words):
            candidates[s, w] = kept[q, s, n_planes * n_words + w]
            chosen[s, w] = np.uint64(0)
            total += popcount(candidates[s, w])
    if total < wanted:
        return False, 0
    counter = 0
    for p in range(n_planes - 1, -1, -1):
        nearer = 0
        for s in range(n_slots):
            for w in range(n_words):
                nearer += popcount(candidates[s, w] & (kept[q, s, p * n_words + w] ^ flip))
        enough = nearer >= wanted
        if not enough:
            wanted -= nearer
        counter |= (1 << p) if enough != (flipped != 0) else 0
        for s in range(n_slots):
            for w in range(n_words):
                near = candidates[s, w] & (kept[q, s, p * n_words + w] ^ flip)
                if enough:
                    candidates[s, w] = near
                else:
                    chosen[s, w] |= near
                    candidates[s, w] ^= near
    for s in range(n_slots):
        for w in range(n_words):
            chosen[s, w] |= candidates[s, w]
    return True, counter
