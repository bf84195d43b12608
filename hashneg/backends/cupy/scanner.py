"""One round of a search: which kernel runs, how the work is cut, and the lists that it fills."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device
from hashneg.backends.cupy.layout import THREADS, Layout, TensorLayout, Words, pack

_MOST_SLICES = 1024  # that merge.cu takes
_TENSOR_WARPS, _SLICED_WARPS = 4, 8  # of a block, as the kernels have it
_TENSOR_WARPS_AT_ONCE, _SLICED_BLOCKS_AT_ONCE = 16, 2  # on a multiprocessor
_SLICED_QUERIES = 256  # of a block, as the kernel has it
_SLACK = 64  # entries that a list takes between two compactions, or half of k
_UNBOUNDED = 2**62


@dataclass(frozen=True)
class Round:
    """The tiles first, first + step, ... before last."""

    first: int
    last: int
    step: int

    def __len__(self) -> int:
        return ceil((self.last - self.first) / self.step)


@dataclass(frozen=True)
class Queries:
    """Queries in the form that a scan reads.

    Attributes
    ----------
    packed : Words
    plans : uint32 (nq, plan_width), int32 (nq,); None for the tensor core
    """

    packed: Words
    projected: bool
    plans: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, codes: Any, layout: Layout, projected: bool) -> Queries:
        if isinstance(layout, TensorLayout):
            return cls(pack(codes, layout.packed.words.shape[1], ceil(len(codes) / 64) * 64), projected)
        packed = pack(codes, ceil(layout.n_bits / 32))
        nq, width = len(codes), ceil(layout.n_bits / 8) * 8
        plans, lengths = device.empty((nq, width), "uint32"), device.empty((nq,), "int32")
        device.launch(
            device.kernel("plan_queries", "rows.cu"), ceil(nq * 32 / THREADS), THREADS, packed.words, np.int64(nq),
            np.int32(packed.words.shape[1]), np.int32(layout.n_bits), np.int32(layout.plane_bytes), np.int32(width),
            plans, lengths,
        )  # fmt: skip
        return cls(packed, projected, (plans, lengths))

    def __len__(self) -> int:
        return len(self.packed)


@dataclass(frozen=True)
class Found:
    """The lists of a round: list (q, s) has counts[q, s] entries from (q * slices + s) * room on."""

    lists: Any
    counts: Any
    room: int
    slices: int


def scan(
    layout: Layout,
    queries: Queries,
    rows: Round,
    k: int,
    limits: Any,
    workspace_bytes: int,
    excluded: tuple[Any, ...],
    first_row: int = 0,
    visits: tuple[Any, ...] = (),
    only_count: bool = False,
    into: tuple[Any, Any] | None = None,
) -> Found:
    """Find the rows of a round within `limits`, in every slice of it the k nearest; with `only_count` or `into` all.

    Parameters
    ----------
    excluded : the arguments that `masks.arguments` makes; of rows counted from `first_row` on
    first_row : the number that the first row of the layout gets
    visits : the blocks of a clustered database to scan, as `clusters.Visits.between` gives them
    into : uint64 (total,) and int64 (nq, slices), the lists and where each begins, as an earlier count found
    """
    nq, tensor = len(queries), isinstance(layout, TensorLayout)
    query_tiles = _query_tiles(layout, nq) if isinstance(layout, TensorLayout) else 0
    unit_queries = 16 * query_tiles if tensor else _SLICED_QUERIES
    at_once = _TENSOR_WARPS_AT_ONCE if tensor else _SLICED_BLOCKS_AT_ONCE
    parts = ceil(nq / unit_queries)
    wanted = ceil(at_once * device.limit("MultiProcessorCount", device.number()) / max(1, parts))
    all_found = only_count or into is not None
    entry_bytes = 4 if all_found else 8 * (k + max(_SLACK, k // 2) + 32)
    affordable = max(1, workspace_bytes // max(1, nq * entry_bytes))
    tiles = ceil(len(rows) / max(1, min(wanted, affordable, _MOST_SLICES, len(rows))))
    slices = ceil(len(rows) / max(1, tiles))
    room = min(k + max(_SLACK, k // 2), tiles * layout.tile_rows) + 32
    counts = device.empty((nq, slices), "int32")
    lists, begins = into or (device.NULL if only_count else device.empty((nq * slices * room,), "uint64"), device.NULL)
    base = 0 if tensor else layout.n_bits // 2
    ones = layout.packed.ones if isinstance(layout, TensorLayout) else layout.ones
    common = (
        np.int32(queries.projected), np.int32(base), np.int32(nq), queries.packed.ones, ones, np.int64(first_row),
        np.int64(rows.first), np.int64(rows.last), np.int64(rows.step), np.int64(tiles), np.int32(slices),
        np.int32(layout.n_bits), np.int32(k), limits, lists, begins, np.int64(_UNBOUNDED if all_found else room),
        counts, *excluded, *visits,
    )  # fmt: skip
    clustered = int(bool(visits))
    if isinstance(layout, TensorLayout):
        device.launch(
            device.kernel(
                "scan_mma", BLOCKS=layout.packed.words.shape[1] // 8, QUERY_TILES=query_tiles, CLUSTERED=clustered
            ),
            ceil(parts * slices / _TENSOR_WARPS), 32 * _TENSOR_WARPS, layout.packed.words,
            layout.starts(queries.projected), queries.packed.words, *common,
        )  # fmt: skip
    else:
        assert queries.plans is not None
        plans, lengths = queries.plans
        staged = layout.staged_bytes
        device.launch(
            device.kernel(
                "scan_sliced", PLANES=layout.counter_planes, WORDS=layout.lane_words, STAGED=int(staged > 0),
                CLUSTERED=clustered,
            ),
            parts * slices, 32 * _SLICED_WARPS, layout.planes, plans, lengths, np.int32(plans.shape[1]), *common,
            shared=staged,
        )  # fmt: skip
    return Found(lists, counts, room, slices)


def _query_tiles(layout: TensorLayout, nq: int) -> int:
    """Groups of 16 queries that a warp holds: as many as fit its registers, and one where there are few."""
    if nq <= 16:
        return 1
    return 4 if layout.packed.words.shape[1] == 8 else 2
