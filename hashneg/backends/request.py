"""What a public function hands to a backend: plain, checked, contiguous NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

NO_INDEX = -1
NO_DISTANCE = 2**31 - 1
BLOCK_ROWS = 512  # of a clustered database; what the kernels count at a time divides it


@dataclass(frozen=True)
class Projection:
    """A rotation with thresholds: z = R x - thresholds.

    Attributes
    ----------
    kind : "dense", "hadamard" or "identity"
    thresholds : float64 (n_bits,)
    matrix : float64 (n_bits, d), for "dense"
    signs : float64 (blocks, 3, D) of +-1, D a power of two, for "hadamard"
    cache : what a backend made of the above; not part of the value, and not pickled
    """

    kind: str
    thresholds: np.ndarray
    matrix: np.ndarray | None = None
    signs: np.ndarray | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"cache": {}}


@dataclass(frozen=True)
class Exclusions:
    """Pairs that may never be returned. Every field may be None: nothing is excluded by it.

    Attributes
    ----------
    query_ids : int64 (nq,), the database row that query i is, or -1
    query_labels, database_labels : int64 (nq,), (n,)
    exclude : int64 (nq, m), each row sorted, padded with -1
    allow : uint8 (1 or nq, n) of 0 and 1; or packed, low bit first, (1 or nq, ceil(n/8))
    allow_is_packed : bool
    """

    query_ids: np.ndarray | None = None
    query_labels: np.ndarray | None = None
    database_labels: np.ndarray | None = None
    exclude: np.ndarray | None = None
    allow: np.ndarray | None = None
    allow_is_packed: bool = False

    def queries(self, start: int, stop: int) -> Exclusions:
        """The exclusions of queries `start` to `stop`."""
        return self.of(slice(start, stop))

    def of(self, queries: slice | np.ndarray) -> Exclusions:
        """The exclusions of some queries, a slice or their numbers."""

        def cut(field: np.ndarray | None) -> np.ndarray | None:
            return None if field is None else field[queries]

        shared = self.allow is None or len(self.allow) == 1
        return replace(
            self,
            query_ids=cut(self.query_ids),
            query_labels=cut(self.query_labels),
            exclude=cut(self.exclude),
            allow=self.allow if shared else cut(self.allow),
        )


@dataclass(frozen=True)
class Search:
    """How to search: everything but the codes.

    Attributes
    ----------
    n_bits : int
    max_distance : int, inclusive; n_bits where there is no limit
    metric : "hamming" or "projected"
    probe : share of the blocks of a clustered database to visit, at most 1
    """

    n_bits: int
    max_distance: int
    exclusions: Exclusions
    metric: str = "hamming"
    probe: float = 1.0


@dataclass(frozen=True)
class Clustering:
    """Blocks of similar codes: position p of the layout holds row order[p], block b the positions from b * size.

    No row of a block is closer to a query than the block's center, less the radius. Blocks are skipped by that
    bound and visited by the one with the largest radius of all, which is the order of the distance to the center:
    with its own radius a loose block would come before a near one.

    Attributes
    ----------
    order : int64 (n,)
    size : int, rows of a block; the last may be shorter
    centers : uint8 (blocks, width), a code in the middle of the block
    radii : int32 (blocks,), the largest distance of a row of the block from its center
    """

    order: np.ndarray
    size: int
    centers: np.ndarray
    radii: np.ndarray

    @cached_property
    def positions(self) -> np.ndarray:
        """Where each row is: positions[order[p]] = p, int64 (n,)."""
        positions = np.empty_like(self.order)
        positions[self.order] = np.arange(len(self.order))
        return positions


@dataclass
class Database:
    """The rows searched in.

    Attributes
    ----------
    codes : uint8 (n, width), C-contiguous, padding bits zero
    n_bits : int
    alive : bool (n,) or None; rows that are not alive are never returned
    clustering : Clustering or None
    layout : what the backend's `prepare` returned, or None where it has not run
    """

    codes: np.ndarray
    n_bits: int
    alive: np.ndarray | None = None
    clustering: Clustering | None = None
    layout: Any = None


@dataclass(frozen=True)
class HostRows:
    """Rows that stay on the host, to be searched on a device chunk by chunk. Memory maps are read as they are needed.

    Attributes
    ----------
    codes : list of uint8 (rows, width), stacked by rows
    labels : int64 (n,) or None
    allow : uint8 (n,) of 0 and 1; or packed, low bit first, (ceil(n/8),); or None
    allow_is_packed : bool
    """

    codes: list[np.ndarray]
    labels: np.ndarray | None = None
    allow: np.ndarray | None = None
    allow_is_packed: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.codes))

    def parts(self, start: int, stop: int) -> dict[str, list[np.ndarray]]:
        """Rows `start` to `stop`: codes, and labels and alive where there are any; each as pieces to be joined."""
        pieces, first = [], 0
        for codes in self.codes:
            pieces.append(codes[max(0, start - first) : max(0, stop - first)])
            first += len(codes)
        parts = {"codes": pieces}
        if self.labels is not None:
            parts["labels"] = [self.labels[start:stop]]
        if self.allow is not None and self.allow_is_packed:
            bits = np.unpackbits(self.allow[start // 8 : -(-stop // 8)], bitorder="little")
            parts["alive"] = [bits[start % 8 :][: stop - start]]
        elif self.allow is not None:
            parts["alive"] = [self.allow[start:stop]]
        return parts


@dataclass(frozen=True)
class Composition:
    """What batches are composed of; ids are 0 .. n-1.

    Attributes
    ----------
    order : int64 (n,), all ids in the order in which they become anchors
    neighbours : int64 (n, k), the candidates of every id, hardest first, padded with -1
    labels : int64 (n,) of 0 .. n_labels-1, or None; no two ids of a batch share one
    positives : int64 (n, m), padded with -1, or None; no two ids of a batch are positives of each other
    batch_size : int, at least 1
    n_hard : int, the most places of a batch that go to neighbours of its anchors
    """

    order: np.ndarray
    neighbours: np.ndarray
    labels: np.ndarray | None
    positives: np.ndarray | None
    batch_size: int
    n_hard: int
