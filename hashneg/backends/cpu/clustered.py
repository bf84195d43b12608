"""Search of a clustered database: blocks of similar codes, those that cannot hold a neighbour passed over."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashneg.backends.cpu import scan, selection
from hashneg.backends.cpu.distances import distances as all_distances
from hashneg.backends.cpu.layout import Layout
from hashneg.backends.cpu.scan import SELECT, aim, reaches, take_survivors
from hashneg.backends.cpu.selection import ACCEPTED, HELD, LIMIT, Masks
from hashneg.backends.request import BLOCK_ROWS, Database, Search
from hashneg.progress import Meter
from hashneg.threads import run_tiles

_TILE_QUERIES = 64
_TILE_BYTES = 32 << 20


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
    """Write the k nearest allowed rows of the visited blocks by (distance, index) to `out`."""
    assert database.clustering is not None
    room = min(k + max(k, 1024), len(database.codes)) + BLOCK_ROWS
    per_query = 12 * room + 24 * len(database.clustering.centers)  # held rows; a bound and a place for every block
    step = int(np.clip(_TILE_BYTES // per_query, 1, _TILE_QUERIES))
    step = max(1, min(step, -(-len(queries) // threads)))

    def work(start: int) -> None:
        part = slice(start, min(start + step, len(queries)))
        _search_tile(database, layout, queries[part], k, search, start, room, out[0][part], out[1][part])
        meter.advance(part.stop - start)

    run_tiles(work, range(0, len(queries), step), threads)


def _search_tile(
    database: Database,
    layout: Layout,
    queries: np.ndarray,
    k: int,
    search: Search,
    start: int,
    room: int,
    out_distances: np.ndarray,
    out_rows: np.ndarray,
) -> None:
    clusters, n = database.clustering, len(queries)
    assert clusters is not None
    queries = np.ascontiguousarray(queries)
    masks = Masks(search.exclusions.queries(start, start + n))
    state = np.empty((n, selection.STATE), np.int64)
    histograms = np.empty((n, search.n_bits + 1), np.int32)
    begins = np.arange(n) * room
    distances, rows = np.empty(n * room, np.int32), np.empty(n * room, np.int64)
    selection.start(state, histograms, np.full(n, search.max_distance))
    offsets, plans = scan.planned(queries, search, layout)
    # counters and marks of a block; made here so that they outlive the kernel that reads them by address
    scratch = np.empty((layout.planes + 1) * layout.words, np.uint64)
    to_centers = all_distances(queries, clusters.centers, search.metric)
    bounds = to_centers - clusters.radii
    visits = np.argsort(to_centers, axis=1, kind="stable")
    least = int(np.ceil(search.probe * len(clusters.centers)))
    _scan_by_bound(
        *layout.shape, layout.blocks, search.n_bits, offsets, plans, masks.table, layout.order, bounds, visits,
        clusters.size // layout.lanes, least, k, state, histograms, begins, room, distances, rows, scratch,
    )  # fmt: skip
    selection.finish(state, distances, rows, begins, k, False, search.n_bits + 1, out_distances, out_rows)


@njit(nogil=True, cache=True)
def _scan_by_bound(
    planes, words, blocks, n_bits, offsets, plans, masks, order, bounds, visits, per_block, min_visits, k, state,
    histograms, begins, room, distances, rows, scratch,
):  # fmt: skip
    """Every query against the blocks of a clustered database, the most promising first.

    A block whose lower bound exceeds the limit holds nothing of use, and is passed over.
    """
    n_words = len(words)
    scratch_at, blocks_at = np.intp(scratch.ctypes.data), np.intp(blocks.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * n_words
    for q in range(len(plans)):
        aim(plans, q, state[q, LIMIT], n_bits)
        for visit in range(visits.shape[1]):
            near = visits[q, visit]
            if visit >= min_visits and state[q, ACCEPTED] >= k:
                break
            if bounds[q, near] > state[q, LIMIT]:
                continue
            for b in range(near * per_block, (near + 1) * per_block):
                if not reaches(planes, words, blocks_at + b * block_bytes, n_bits, offsets, plans, q, scratch_at):
                    continue
                if state[q, HELD] > room - 64 * n_words:
                    selection.compact(state, q, distances, rows, begins[q], k, False)
                take_survivors(
                    planes, words, blocks_at + b * block_bytes, b, n_bits, plans, q, masks, order, k, False, SELECT,
                    state, histograms, begins[q], distances, rows, scratch_at,
                )  # fmt: skip
