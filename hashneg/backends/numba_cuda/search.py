"""Exact search on the device: tiles of queries, each counted and then placed; see `kernels`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.numba_cuda import device, kernels, masks
from hashneg.backends.numba_cuda.distances import query_words, row_words
from hashneg.backends.request import Clustering, Database, Exclusions, Search
from hashneg.progress import Meter

_WORKSPACE_BYTES = 256 << 20  # of counters; with 256 bits, enough for as many threads as a large device runs at once
_TILE_QUERIES = 1024
_SHARE_ROWS = 512  # the fewest rows that one thread walks


@dataclass(frozen=True)
class Layout:
    """A database on the device. Arrays that a database does not need are empty.

    Attributes
    ----------
    words : uint64 (n, words)
    alive : uint8 (n,), 0 for removed rows
    order, blocks : int64 (n,), the row at a position of a clustered database, and the block of a row
    centers : uint64 (blocks, words)
    """

    words: Any
    alive: Any
    order: Any
    blocks: Any
    centers: Any

    @classmethod
    def of(cls, database: Database) -> Layout:
        nothing = np.empty(0, np.int64)
        alive = nothing.view(np.uint8) if database.alive is None else database.alive.view(np.uint8)
        order, centers = nothing, np.empty((0, 1), np.uint8)
        if (clusters := database.clustering) is not None:
            order, centers = clusters.order, clusters.centers
        layout = cls(
            row_words(database.codes), device.upload(alive), device.upload(order), device.empty(order.shape, "int64"),
            row_words(centers),
        )  # fmt: skip
        if clusters is not None:
            device.launch(kernels.number_blocks, len(order), layout.order, clusters.size, layout.blocks)
        return layout


def prepare(database: Database) -> None:
    """Bring the codes to the device, as words."""
    with device.memory("an index", database.codes, _row_bytes(database)):
        database.layout = Layout.of(database)


def write(database: Database, rows: np.ndarray) -> None:
    """Bring the layout up to date after `rows` changed or were added: it is made anew, which costs one copy."""
    prepare(database)


def topk(
    database: Database, queries: Any, k: int, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    with device.memory("a top-k search", queries, _query_bytes(queries) + 12 * k, _other_bytes(database, search)):
        layout = _layout(database)
        distances = device.empty((len(queries), k), "int32")
        rows = device.empty((len(queries), k), "int64")
        for start, stop in _tiles(len(queries), search.n_bits, layout.centers.shape[0]):
            scan = _scan(layout, database.clustering, queries, start, stop, k, search)
            out = distances[start:stop], rows[start:stop]
            scan.place(np.arange(stop - start) * k, out[0].reshape(-1), out[1].reshape(-1))
            device.launch(kernels.pad, (stop - start) * k, scan.found, *out)
            meter.advance(stop - start)
    return device.result(distances), device.result(rows)


def range_search(
    database: Database, queries: Any, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All allowed rows within `search.max_distance`: indptr, indices, distances. Counted first, then collected."""
    everything = len(database.codes) + 1
    indptr = np.zeros(len(queries) + 1, np.int64)
    with device.memory("a range search", queries, _query_bytes(queries), _other_bytes(database, search)):
        layout = _layout(database)
        for start, stop in _tiles(len(queries), search.n_bits, 0):
            scan = _scan(layout, None, queries, start, stop, everything, search)
            indptr[start + 1 : stop + 1] = device.download(scan.found)
    np.cumsum(indptr, out=indptr)
    row_bytes = _query_bytes(queries) + 12 * ceil(indptr[-1] / max(1, len(queries)))
    with device.memory("a range search", queries, row_bytes, _other_bytes(database, search)):
        distances = device.empty((int(indptr[-1]),), "int32")
        rows = device.empty((int(indptr[-1]),), "int64")
        for start, stop in _tiles(len(queries), search.n_bits, 0):
            scan = _scan(layout, None, queries, start, stop, everything, search)
            scan.place(indptr[start:stop], distances, rows)
            meter.advance(stop - start)
    return device.result(device.upload(indptr)), device.result(rows), device.result(distances)


def _layout(database: Database) -> Layout:
    """The layout of the database, made here unless `prepare` did: another backend's is of no use."""
    return database.layout if isinstance(database.layout, Layout) else Layout.of(database)


class _Scan:
    """Queries against all rows of a set, counted when made."""

    def __init__(
        self, queries: Any, words: Any, k: int, n_bits: int, projected: bool, max_distance: int, tests: tuple[Any, ...]
    ) -> None:
        n, nq = words.shape[0], queries.shape[1]
        shares = max(1, min(_pairs(n_bits) // nq, ceil(n / _SHARE_ROWS)))
        self._common = queries, words, ceil(n / shares), projected, k
        self._tests = tests
        self._counts = device.empty((shares, n_bits + 1, nq), "int64")
        self._totals = device.empty((n_bits + 1, nq), "int64")
        self._limits = device.empty((nq,), "int64")
        self.found = device.empty((nq,), "int64")
        device.launch(kernels.count, shares * nq, *self._common, max_distance, *tests, self._counts)
        device.launch(kernels.rank_shares, self._totals.size, self._counts, self._totals)
        device.launch(kernels.rank_distances, nq, self._totals, k, self._limits, self.found)

    def place(self, begins: np.ndarray, distances: Any, rows: Any) -> None:
        """Write what was counted, sorted, query q from begins[q] on. Once only: it moves the places on."""
        device.launch(
            kernels.place, self._counts.shape[0] * len(begins), *self._common, self._limits, *self._tests,
            self._counts, self._totals, device.upload(begins), distances, rows,
        )  # fmt: skip


def _scan(
    layout: Layout, clustering: Clustering | None, queries: Any, start: int, stop: int, k: int, search: Search
) -> _Scan:
    """The queries `start` to `stop` against the rows that they may see."""
    words, projected = query_words(queries[start:stop]), search.metric == "projected"
    excluded = masks.on_device(search.exclusions.queries(start, stop))
    hidden = layout.alive, device.upload(np.empty((0, 0), np.uint8)), layout.blocks
    if clustering is not None and search.probe < 1:
        hidden = layout.alive, _visited(layout, clustering, words, k, search, hidden, excluded), layout.blocks
    return _Scan(words, layout.words, k, search.n_bits, projected, search.max_distance, (*hidden, *excluded))


def _visited(
    layout: Layout, clustering: Clustering, words: Any, k: int, search: Search, hidden: Any, excluded: Any
) -> Any:
    """Which blocks of a clustered database each query visits, uint8 (blocks, nq).

    The rows of a block lie scattered in index order, so a probe saves comparisons only where queries that run side
    by side agree on a block.
    """
    n_blocks, nq, projected = layout.centers.shape[0], words.shape[1], search.metric == "projected"
    nothing = device.upload(np.empty(0, np.uint8)), device.upload(np.empty((0, 0), np.uint8)), layout.blocks
    nearest = _Scan(
        words, layout.centers, n_blocks, search.n_bits, projected, search.n_bits,
        (*nothing, *masks.on_device(Exclusions())),
    )  # fmt: skip
    far, order = device.empty((nq, n_blocks), "int32"), device.empty((nq, n_blocks), "int64")
    nearest.place(np.arange(nq) * n_blocks, far.reshape(-1), order.reshape(-1))
    allowed, visited = device.empty((n_blocks, nq), "int64"), device.empty((n_blocks, nq), "uint8")
    device.launch(
        kernels.count_allowed, allowed.size, words, layout.words, projected, search.max_distance, *hidden,
        layout.order, clustering.size, *excluded, allowed,
    )  # fmt: skip
    least = ceil(search.probe * n_blocks)
    device.launch(kernels.visit, nq, order, allowed, least, k, visited)
    return visited


def _pairs(n_bits: int) -> int:
    """Pairs of a query and a share whose counters fit the workspace."""
    return max(1, _WORKSPACE_BYTES // (8 * (n_bits + 1)))


def _tiles(nq: int, n_bits: int, n_blocks: int) -> Iterator[tuple[int, int]]:
    step = max(1, min(_TILE_QUERIES, _pairs(n_bits), _WORKSPACE_BYTES // (32 * max(1, n_blocks))))
    return ((start, min(start + step, nq)) for start in range(0, nq, step))


def _row_bytes(database: Database) -> int:
    """Bytes of a database row on the device, at most."""
    return 8 * ceil(database.codes.shape[1] / 8) + 1 + (16 if database.clustering is not None else 0)


def _query_bytes(queries: Any) -> int:
    return 16 * ceil(queries.shape[1] / 8)


def _other_bytes(database: Database, search: Search) -> int:
    return _WORKSPACE_BYTES + (0 if isinstance(database.layout, Layout) else len(database.codes) * _row_bytes(database))
