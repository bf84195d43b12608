"""Codes by row, when each was written, and what lies near: what can be asked of a code table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.codes import Codes, width_of
from hashneg.hamming import HammingIndex, TopK, exclusions
from hashneg.placement import place_of, where_it_lies
from hashneg.progress import Progress
from hashneg.table import positives as pairing


class CodedRows:
    """The part of a `CodeTable` that answers and is not written to.

    Attributes
    ----------
    n, n_bits : int
    labels : int64 (n,) or None
    version : int
    """

    def __init__(self, n: int, n_bits: int, labels: Any, like: Any) -> None:
        self.n, self.version = n, 0
        self._place = np.empty(1) if like is None else place_of(like)
        with arrays.current_stream(self._place):
            zeros = cuda_arrays.namespace(self._on_device).zeros
            self._versions = zeros(n, np.int32)  # 0: no code yet
            labels = None if labels is None else arrays.integers(labels, "labels", (n,), self._place)
            self._index = index_of(zeros((n, width_of(n_bits)), np.uint8), n_bits, labels, self._versions)

    @property
    def n_bits(self) -> int:
        return self._index.n_bits

    @property
    def labels(self) -> Any:
        return self._index.labels if self._index.labels is None else self._export(None)(self._index.labels)

    def __len__(self) -> int:
        return self.n

    @where_it_lies
    def mine(
        self,
        ids: Any,
        k: int,
        *,
        exclude: Any = None,
        allow: Any = None,
        max_distance: int | None = None,
        backend: str = "auto",
        threads: int | None = None,
        progress: Progress = False,
    ) -> TopK:
        """The k nearest rows of the rows `ids`, by their codes in the table.

        Parameters
        ----------
        ids : array, int (m,)
        k : int
        exclude, allow, max_distance, backend, threads, progress
            As in `hamming_topk`, which says what it raises. The row itself and those of its label are always excluded.

        Returns
        -------
        TopK
            distances int32 (m, k) and indices int64 (m, k), of the framework of `ids`. Padded with 2**31 - 1 and -1,
            throughout where the row itself has no code yet.
        """
        if exclude is not None:
            exclude = arrays.integers(exclude, "exclude", (None, None), self._place)
        rows = self._ids(ids, None if exclude is None else exclusions.ids_check(exclude, "exclude", self.n))
        labels = self._index.labels
        with checks.checked_before():
            found = self.topk(
                self._index.codes(rows), k, query_ids=rows, query_labels=None if labels is None else labels[rows],
                exclude=exclude, allow=allow, max_distance=max_distance, backend=backend, threads=threads,
                progress=progress,
            )  # fmt: skip
        unknown, export = (self._versions[rows] == 0)[:, None], self._export(ids)
        distances = np.where(unknown, np.int32(NO_DISTANCE), found.distances)
        return TopK(export(distances), export(np.where(unknown, np.int64(NO_INDEX), found.indices)))

    @where_it_lies
    def topk(self, queries: Any, k: int, **options: Any) -> TopK:
        """The k nearest rows of codes that need not be in the table, such as those of queries; see `HammingIndex.topk`.

        `query_labels` are needed if the table has labels.
        """
        return self._index.topk(queries, k, **options)

    def hardest_positives(self, ids: Any, positives: Any = None) -> Any:
        """The hardest positive of the rows `ids`: the one whose code is farthest away; for tables of the host.

        Parameters
        ----------
        ids : array, int (m,)
        positives : array, int (m, p), optional
            Rows that are positives of ids[i], padded with -1; the other rows of its label by default.

        Returns
        -------
        array, int64 (m,)
            Of the framework of `ids`. Ties go to the lower row; -1 where the row or all of its positives have no code.

        Raises
        ------
        TypeError, ValueError
            If ids or positives are not what they should be, or the table has no labels and `positives` is missing.
        RuntimeError
            If the table lies on a device.

        References
        ----------
        LSH hard negatives (arXiv 2505.17844) takes the farthest image of a class as its positive.
        """
        if self._on_device:
            raise RuntimeError("positives are compared on the host, but the table lies on a CUDA device; load its "
                               "state_dict into a table of the host")  # fmt: skip
        rows = self._ids(ids)
        if positives is not None:
            given = arrays.integers(positives, "positives", (len(rows), None))
            exclusions.check_ids(given, "positives", self.n)
            pairs = pairing.listed(given)
        elif self.labels is not None:
            pairs = pairing.SameLabel(self.labels).pairs(rows)
        else:
            raise ValueError("positives is missing: the table has no labels to tell them by")
        return arrays.exporter(ids)(pairing.farthest(self._index, rows, self._versions > 0, pairs))

    @where_it_lies
    def versions(self, ids: Any = None) -> Any:
        """The version of the table from which the codes of the rows `ids` (default all) stem, int64; 0 for no code."""
        rows = slice(None) if ids is None else self._ids(ids)
        return self._export(ids)(self._versions[rows].astype(np.int64))

    @where_it_lies
    def ages(self, ids: Any = None) -> Any:
        """How many versions old the codes of the rows `ids` (default all) are, int64; -1 for no code."""
        rows = slice(None) if ids is None else self._ids(ids)
        stamps = self._versions[rows].astype(np.int64)
        return self._export(ids)(np.where(stamps > 0, self.version - stamps, -1))

    @where_it_lies
    def codes(self, ids: Any = None) -> Codes:
        """The codes of the rows `ids` (default all), in a copy; zeros for rows that have none."""
        rows = None if ids is None else self._ids(ids)
        with checks.checked_before():
            codes = self._index.codes(rows)
        return Codes._of(codes.host, self.n_bits, self._place)

    @property
    def _on_device(self) -> bool:
        return arrays.is_on_device(self._place)

    def _export(self, ids: Any) -> Callable[[Any], Any]:
        """To the framework of ids that came, or to that of the table."""
        return arrays.exporter(self._place if arrays.framework_of(ids) is None else ids)

    def _ids(self, ids: Any, *also: checks.ValueCheck | None) -> Any:
        rows = arrays.integers(ids, "ids", (None,), self._place)
        checks.settle(exclusions.ids_check(rows, "ids", self.n, none=False), *also)
        return rows


def index_of(codes: Any, n_bits: int, labels: Any, versions: Any) -> HammingIndex:
    """An index of these codes that returns the rows of a version above 0."""
    made = HammingIndex(Codes(codes, n_bits), labels)
    made.remove(np.flatnonzero(versions == 0))
    return made
