"""Clustered databases: which blocks of rows a query visits."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device, masks
from hashneg.backends.cupy.distances import distances
from hashneg.backends.cupy.layout import THREADS
from hashneg.backends.request import Clustering, Database, Search

PAIR_BYTES = 12  # of a query and a block: distance, bound, and how many rows are allowed
_COUNTING_WARPS = 64  # that share a query


@dataclass(frozen=True)
class Blocks:
    """The blocks of a clustered database: places `b << shift` and on hold block b.

    Attributes
    ----------
    order : int64 (n,), the row at a place
    centers, radii : uint8 (blocks, width), int32 (blocks,)
    """

    order: Any
    centers: Any
    radii: Any
    shift: int

    @classmethod
    def of(cls, clustering: Clustering) -> Blocks:
        assert clustering.size.bit_count() == 1  # kernels shift
        order, centers, radii = map(device.upload, (clustering.order, clustering.centers, clustering.radii))
        return cls(order, centers, radii, clustering.size.bit_length() - 1)

    def __len__(self) -> int:
        return len(self.radii)


class Visits:
    """The blocks that some queries visit, in the order of their keys: distance of the center, and number.

    Parameters
    ----------
    far : int32 (nq, blocks), distances of the centers
    """

    def __init__(self, blocks: Blocks, far: Any, n_bits: int) -> None:
        self.blocks, self._far, self._n_bits = blocks, far, n_bits
        self._pairs = np.int64(far.shape[0]), np.int64(len(blocks))

    @classmethod
    def of(cls, blocks: Blocks, queries: Any, search: Search) -> Visits:
        return cls(blocks, distances(queries, blocks.centers, search.metric), search.n_bits)

    def queries(self, chosen: Any) -> Visits:
        """The visits of some of the queries."""
        return Visits(self.blocks, self._far[chosen], self._n_bits)

    def nearest(self, count: int) -> Any:
        """The key of the count-th block of each query, int64 (nq,)."""
        return self._find(device.NULL, count, device.NULL, device.NULL)

    def by_neighbourhood(self) -> Any:
        """The queries in an order in which neighbours visit the same blocks, int64 (nq,)."""
        return np.argsort(self.nearest(1) % len(self.blocks))

    def between(self, start: Any, end: Any) -> tuple[Any, ...]:
        """VISIT_PARAMETERS of scan.cuh for the blocks beyond the keys `start` and up to `end`; None for no such end."""
        bounds = device.empty(self._far.shape, "int32")
        device.launch(
            device.kernel("bound_blocks", "clusters.cu"), ceil(bounds.size / THREADS), THREADS, self._far,
            self.blocks.radii, *self._pairs, *(device.NULL if key is None else key for key in (start, end)), bounds,
        )  # fmt: skip
        return self.blocks.order, bounds, self._pairs[1], np.int32(self.blocks.shift)

    def until_held(self, k: int, held: Any, start: Any, database: Database, queries: Any, search: Search) -> Any:
        """The keys up to which queries that hold fewer than k rows have to go beyond `start` to hold k, int64 (nq,)."""
        allowed = device.empty(self._far.shape, "int32")
        n, width = database.codes.shape
        device.launch(
            device.kernel("count_allowed", "clusters.cu"), ceil(self._pairs[0] * _COUNTING_WARPS * 32 / THREADS),
            THREADS, self._far, self.blocks.radii, *self._pairs, np.int32(_COUNTING_WARPS), held, np.int32(k), start,
            device.on_device(queries, "uint8"), device.on_device(database.codes, "uint8"), np.int64(n), np.int64(width),
            device.NULL if database.alive is None else device.on_device(database.alive, "uint8"), self.blocks.order,
            np.int32(self.blocks.shift), np.int32(search.n_bits), np.int32(search.metric == "projected"),
            np.int32(search.max_distance), allowed, *masks.arguments(search.exclusions),
        )  # fmt: skip
        return self._find(allowed, k, held, start)

    def _find(self, weights: Any, wanted: int, held: Any, start: Any) -> Any:
        keys = device.empty((int(self._pairs[0]),), "int64")
        device.launch(
            device.kernel("find_keys", "clusters.cu"), ceil(len(keys) * 32 / THREADS), THREADS, self._far, *self._pairs,
            np.int32(self._n_bits), weights, np.int64(wanted), held, start, keys,
        )  # fmt: skip
        return keys
