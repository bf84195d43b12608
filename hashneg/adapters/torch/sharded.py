"""A code table whose rows are shared out over the ranks of a training job."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import arrays
from hashneg.adapters.torch.collective import Ranks
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.codes import Codes, width_of
from hashneg.hamming import TopK, exclusions, merge_topk
from hashneg.quantize import BinaryQuantizer
from hashneg.table import CodeTable
from hashneg.table.kept import halved

_MINED_AT_ONCE = 4096


class ShardedCodeTable:
    """A `CodeTable` of which every rank of torch.distributed holds a part, with the same results as one table.

    Rank r holds rows ``start`` to ``stop``. All ranks make the same calls in the same order: `update` with a batch of
    its own each, the other methods with equal arguments.

    Parameters
    ----------
    n, quantizer, mode, labels
        As for `CodeTable`, equal on all ranks. mode="live" needs a fitted quantizer.
    group : torch.distributed process group, optional

    Attributes
    ----------
    n, start, stop : int
    table : CodeTable
        Of the rows start to stop, which are its rows 0 to stop - start.

    Raises
    ------
    RuntimeError
        If torch.distributed is not initialised.
    TypeError, ValueError
        If an argument is not what it should be.

    Notes
    -----
    What travels: in `update` the ids and codes of the batches (in mode "epoch" the embeddings in float16), in `mine`
    the codes of the queries and, by one gather, the k best of each rank, which `merge_topk` joins. In mode "epoch"
    `refresh` sends all kept embeddings around once, since thresholds are fitted to all of them in one order.

    Results equal those of one `CodeTable` that is updated with the batches of all ranks, joined in rank order, bit for
    bit; but for `refresh` with chunks, which renews a share of every part instead of one stretch of the whole.

    Examples
    --------
    >>> import tempfile, torch, hashneg as hn
    >>> from hashneg.adapters.torch import ShardedCodeTable
    >>> folder = tempfile.TemporaryDirectory()
    >>> torch.distributed.init_process_group("gloo", init_method=f"file://{folder.name}/ranks", rank=0, world_size=1)
    >>> x = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    >>> table = ShardedCodeTable(100, hn.BinaryQuantizer(64).fit(x))
    >>> table.update(torch.arange(100), x)
    >>> table.mine(torch.arange(4), k=3).indices.shape
    torch.Size([4, 3])
    >>> torch.distributed.destroy_process_group()
    >>> folder.cleanup()
    """

    def __init__(
        self, n: int, quantizer: int | BinaryQuantizer, *, mode: str = "live", labels: Any = None, group: Any = None
    ) -> None:
        self._ranks = Ranks(group)
        whole = CodeTable(0, quantizer, mode=mode)  # checks these two
        if mode == "live" and whole.quantizer.dim is None:
            raise ValueError("quantizer must be fitted: in mode='live' the ranks encode their batches on their own")
        self._labels = None if labels is None else arrays.integers(labels, "labels", (n,)).copy()
        step = -(-n // (8 * self._ranks.size)) * 8  # so that parts of packed masks start at whole bytes
        self.n, self.start = n, min(self._ranks.rank * step, n)
        self.stop = min(self.start + step, n)
        part = None if self._labels is None else self._labels[self.start : self.stop]
        self.table = CodeTable(self.stop - self.start, whole.quantizer, mode=mode, labels=part)

    @property
    def version(self) -> int:
        return self.table.version

    def update(self, ids: Any, embeddings: Any) -> None:
        """Take in the batches of all ranks. Of repeated ids the last wins, in rank order.

        If one rank's arguments are refused, the call fails on every rank and changes nothing.
        """
        numbers, rows, error = np.empty(0, np.int64), np.empty((0, 0), np.uint8), None
        try:
            numbers = arrays.integers(ids, "ids", (None,))
            exclusions.check_ids(numbers, "ids", self.n, none=False)
            rows = self._payload(embeddings)
            if len(rows) != len(numbers):
                raise ValueError(f"embeddings must have a row for each of the {len(numbers)} ids, got {len(rows)}")
        except (TypeError, ValueError) as refused:
            error = refused
        self._ranks.agree(error, rows.shape[1] * rows.itemsize)
        every, all_rows = (np.concatenate(self._ranks.gather(x)) for x in (numbers, rows))
        here = (every >= self.start) & (every < self.stop)
        if self.table.mode == "epoch":
            self.table.update(every[here] - self.start, all_rows[here])
        else:
            self.table.update_codes(every[here] - self.start, Codes(all_rows[here], self.table.n_bits))

    def mine(
        self, ids: Any, k: int, *, exclude: Any = None, allow: Any = None, max_distance: int | None = None
    ) -> TopK:
        """The k nearest rows of the rows `ids`, of all ranks' rows; see `CodeTable.mine`. Equal on every rank."""
        rows = arrays.integers(ids, "ids", (None,))
        exclusions.check_ids(rows, "ids", self.n, none=False)
        if exclude is not None:
            exclude = arrays.integers(exclude, "exclude", (len(rows), None))
            exclusions.check_ids(exclude, "exclude", self.n)
        if allow is not None:
            allow = self._allowed_here(arrays.to_numpy(allow, "allow"))
        found = [
            self._mined(
                rows[part], k, None if exclude is None else exclude[part],
                allow[part] if allow is not None and allow.ndim == 2 else allow, max_distance,
            )
            for part in (slice(s, s + _MINED_AT_ONCE) for s in range(0, max(1, len(rows)), _MINED_AT_ONCE))
        ]  # fmt: skip
        export = arrays.exporter(ids)
        return TopK(*(export(np.concatenate(column)) for column in zip(*found, strict=True)))

    def refresh(self, source: Any = None, *, chunks: int = 1, batch_size: int = 1024) -> np.ndarray:
        """Rebuild codes; see `CodeTable.refresh`. Every rank reads its own rows from `source`, and returns their ids.

        In mode "epoch" all ranks have to call it together.
        """
        kept = self.table._kept
        if kept is not None:
            if source is not None or chunks > 1:
                return self.table.refresh(source, chunks=chunks)  # which says why not
            if kept.values is None or not self._ranks.sum(np.array([len(kept.rows)]))[0]:
                raise ValueError("there is nothing to rebuild codes from: update the table during the epoch first")
            everything = self._ranks.blocks_of_all(kept.blocks(), kept.values.shape[1])
            return self.table._rebuild(kept, everything) + self.start
        own: Any = source
        if callable(source) and arrays.framework_of(source) is None:

            def own(ids: np.ndarray) -> Any:
                return source(ids + self.start)

        elif source is not None:
            rows = arrays.embeddings(source, "source")
            if len(rows) != self.n:
                raise ValueError(f"source must have a row for each of the {self.n} rows, got shape {rows.shape}")
            own = rows.block(self.start, self.stop)
        return self.table.refresh(own, chunks=chunks, batch_size=batch_size) + self.start

    def state_dict(self) -> dict[str, Any]:
        """This rank's part: each rank saves its own, and loads it in a job of as many ranks."""
        return {"rank": self._ranks.rank, "world_size": self._ranks.size, "table": self.table.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Become the part that `state_dict` describes; ValueError if it is that of another rank or job size."""
        own = (self._ranks.rank, self._ranks.size)
        if (given := (state_dict.get("rank"), state_dict.get("world_size"))) != own:
            raise ValueError(f"state_dict is of (rank, world_size)={given}, but this is {own}")
        self.table.load_state_dict(state_dict["table"])

    def _payload(self, embeddings: Any) -> np.ndarray:
        """What the other ranks need of a batch: codes, or embeddings in float16."""
        rows = arrays.embeddings(embeddings, "embeddings")
        if self.table.mode == "live":
            return self.table.quantizer.encode(rows).host
        return halved(rows)

    def _mined(self, rows: np.ndarray, k: int, exclude: Any, allow: Any, max_distance: int | None) -> Any:
        here = (rows >= self.start) & (rows < self.stop)
        own = rows[here] - self.start
        queries = np.zeros((len(rows), width_of(self.table.n_bits) + 1), np.uint8)  # last: has a code
        queries[here, :-1] = self.table.codes(own).host
        queries[here, -1] = self.table.versions(own) > 0
        queries = self._ranks.sum(queries)  # only one rank adds to a row
        if exclude is not None:
            exclude = np.where((exclude >= self.start) & (exclude < self.stop), exclude - self.start, -1)
        best = self.table.topk(
            Codes(np.ascontiguousarray(queries[:, :-1]), self.table.n_bits), k,
            query_ids=np.where(here, rows - self.start, -1),
            query_labels=None if self._labels is None else self._labels[rows],
            exclude=exclude, allow=allow, max_distance=max_distance, offset=self.start,
        )  # fmt: skip
        packed = np.concatenate([best.indices, best.distances.astype(np.int64)], axis=1)
        parts = [TopK(p[:, k:].astype(np.int32), p[:, :k]) for p in self._ranks.gather(packed)]
        merged = merge_topk(parts, k)
        unknown = queries[:, -1] == 0
        merged.distances[unknown], merged.indices[unknown] = NO_DISTANCE, NO_INDEX
        return merged

    def _allowed_here(self, allow: np.ndarray) -> np.ndarray:
        if allow.dtype == np.uint8:
            return allow[..., self.start // 8 : -(-self.stop // 8)]
        return allow[..., self.start : self.stop]
