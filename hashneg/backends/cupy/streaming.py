"""Top-k of a database that stays on the host: a chunk is copied to the device while the one before is searched.

Copies run on a stream of their own, from pinned memory; kernels run on the caller's stream. There are two slots, which
take turns, and three waits keep the chunks of a slot apart:

- the host fills a slot's pinned memory when the copy of its last chunk has ended;
- the copy begins when the search of its last chunk has ended;
- the search begins when the copy has ended.

The best rows of all queries stay on the device, so that a chunk is scanned with the limits that the chunks before left,
and what it adds is merged as the rounds of any other search are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg.backends.cupy import device, masks
from hashneg.backends.cupy.layout import Layout, layout_kind
from hashneg.backends.cupy.scanner import Queries, Round
from hashneg.backends.cupy.search import KEEP, WORKSPACE_BYTES, Best, Step, best_room, growing, query_parts
from hashneg.backends.request import Exclusions, HostRows, Search
from hashneg.progress import Meter

_SLOTS = 2
_CHUNK_BYTES = 256 << 20  # of pinned memory; a larger chunk would overlap no better
_FEWEST_ROWS = 4096
_KINDS = {"codes": "uint8", "labels": "int64", "alive": "uint8"}


def stream_topk(
    rows: HostRows, queries: Any, k: int, search: Search, chunk_rows: int | None, meter: Meter
) -> tuple[Any, Any]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    nq, n, kind = len(queries), len(rows), layout_kind()
    slot_bytes = sum(piece.nbytes for pieces in rows.parts(0, min(1, n)).values() for piece in pieces)
    row_bytes = _SLOTS * slot_bytes + kind.row_bytes(search.n_bits)
    other_bytes = WORKSPACE_BYTES + nq * (8 * best_room(k) + 12 * k + 5 * search.n_bits + 64)
    if chunk_rows is None:
        fitting = (device.free_bytes() - other_bytes) // row_bytes
        chunk_rows = max(_FEWEST_ROWS, min(fitting, _CHUNK_BYTES // max(1, slot_bytes)))
    chunk_rows = max(1, min(chunk_rows, n))
    with device.memory("a search in chunks", chunk_rows, row_bytes, other_bytes):
        parts = [_Part(start, stop, k, search) for start, stop in query_parts(nq, k)]
        slots = [_Slot(rows, chunk_rows) for _ in range(_SLOTS)]
        copies = device.new_stream()
        try:
            for number, start in enumerate(range(0, max(1, n), chunk_rows)):
                stop = min(start + chunk_rows, n)
                slot = slots[number % _SLOTS]
                chunk = slot.take(rows, start, stop, copies)
                layout = kind.of(chunk["codes"], search.n_bits, chunk.get("alive"))
                for part in parts:
                    part.search(layout, queries, start, chunk.get("labels"))
                slot.searched.record(device.current_stream())
                del layout, chunk  # the next layout can have the memory
                meter.advance(stop - start)
        finally:
            copies.synchronize()  # memory that is copied from or to must not be given back
        distances, found = device.empty((nq, k), "int32"), device.empty((nq, k), "int64")
        for part in parts:
            part.best.finish(distances[part.start : part.stop], found[part.start : part.stop])
    return distances, found


class _Slot:
    """The way of every second chunk to the device.

    Attributes
    ----------
    copied, searched : events, when the copy of the last chunk, and the search of it, have ended
    """

    def __init__(self, rows: HostRows, chunk_rows: int) -> None:
        width = rows.codes[0].shape[1:]
        shapes = {name: (chunk_rows, *(width if name == "codes" else ())) for name in rows.parts(0, 0)}
        self._pinned = {name: device.pinned(shape, _KINDS[name]) for name, shape in shapes.items()}
        self._on_device = {name: device.empty(shape, _KINDS[name]) for name, shape in shapes.items()}
        self.copied, self.searched = device.new_event(), device.new_event()
        self.searched.record(
            device.current_stream()
        )  # whatever had this memory before is queued on the caller's stream by now

    def take(self, rows: HostRows, start: int, stop: int, copies: Any) -> dict[str, Any]:
        """Rows `start` to `stop` on the device, for kernels that are launched on the current stream from now on."""
        self.copied.synchronize()
        copies.wait_event(self.searched)
        chunk = {}
        for name, pieces in rows.parts(start, stop).items():
            pinned, chunk[name] = self._pinned[name][: stop - start], self._on_device[name][: stop - start]
            np.concatenate(pieces, out=pinned)
            if stop > start:
                chunk[name].set(pinned, stream=copies)
        self.copied.record(copies)
        device.current_stream().wait_event(self.copied)
        return chunk


class _Part:
    """Some of the queries, and their best rows so far."""

    def __init__(self, start: int, stop: int, k: int, search: Search) -> None:
        self.start, self.stop = start, stop
        self.best = Best(stop - start, k, search)
        self._excluded = search.exclusions.queries(start, stop)
        self._queries: Queries | None = None

    def search(self, layout: Layout, queries: Any, first_row: int, labels: Any) -> None:
        """Go on with the rows of `layout`, the first of which has the number `first_row`."""
        k, tiles, search = self.best.k, layout.tiles, self.best.search
        if self._queries is None:  # the first chunk
            self._queries = Queries.of(queries[self.start : self.stop], layout, search.metric == "projected")
            steps = growing(tiles, layout.tile_rows, k, 1)
        else:
            steps = [Step(Round(0, tiles, 1), k, KEEP)]
        excluded = masks.arguments(self._excluded_from(first_row, labels))
        for step in steps:
            self.best.take(layout, self._queries, step, excluded, first_row)

    def _excluded_from(self, first_row: int, labels: Any) -> Exclusions:
        """The exclusions with rows counted from `first_row` on."""
        ids, lists = self._excluded.query_ids, self._excluded.exclude
        return Exclusions(
            query_ids=None if ids is None else ids - first_row,
            query_labels=self._excluded.query_labels,
            database_labels=labels,
            exclude=None if lists is None else lists - first_row,
        )
