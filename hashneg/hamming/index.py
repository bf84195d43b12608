"""HammingIndex: codes whose prepared layout is kept between searches."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays, files
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import Clustering, Database
from hashneg.codes import Codes, as_codes
from hashneg.hamming import clustering, exclusions
from hashneg.hamming.rabitq import Kept, Rescored
from hashneg.hamming.results import TopK
from hashneg.hamming.search import run_topk
from hashneg.placement import place_of, where_it_lies
from hashneg.progress import Progress

ORDERS = ("given", "clustered")


class HammingIndex(Rescored):
    """A database of codes, laid out once and searched often.

    Row numbers are stable: the i-th code added is row i for ever. A removed row is never returned, and
    comes back when it is updated.

    Parameters
    ----------
    codes : Codes, or uint8 array (n, width)
        Copied. On a CUDA device the index stays there: all arrays of its methods lie there, too, those that it gives
        are of the framework of the codes, and `order` has to be "given". A clustered index is made on the host; once
        it was moved to a device, its rows can be removed, but not changed or added to.
    labels : array, int (n,), optional
        Database labels. Searches must then pass `query_labels`.
    order : "given" or "clustered"
        "clustered" groups similar codes into blocks, so that blocks which cannot hold a neighbour are
        skipped, and `probe` below 1 visits only the most promising share of them. Results at ``probe=1.0``
        are the same for both.

    Attributes
    ----------
    n_bits : int
    n_rows : int
        Rows ever added; `len` counts those not removed.
    labels : int64 (n_rows,) or None

    Raises
    ------
    TypeError, ValueError
        If the codes or labels are not what they should be.

    Notes
    -----
    Any number of threads may search one index; updating it while another thread searches is not safe.
    An index that was given two numbers of every row, by `keep_rabitq`, can sort candidates by their estimated cosine:
    `scored_topk`.
    Memory: the codes, as much again for the layout, and 8 bytes a row for labels and for a clustered order.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = hn.Codes.from_signs(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]]))
    >>> index = hn.HammingIndex(codes)
    >>> index.topk(codes[0], 2).indices.tolist()
    [[0, 1]]
    >>> index.remove([0])
    >>> index.topk(codes[0], 2).indices.tolist()
    [[1, 2]]
    """

    def __init__(self, codes: Any, labels: Any = None, *, order: str = "given") -> None:
        codes = as_codes(codes, "codes", device=True)
        self._order = checks.choice(order, "order", ORDERS)
        self._place = place_of(codes.data)
        if order == "clustered" and self._on_device:
            raise ValueError("codes are clustered on the host; make the index there, and bring it here with moved_to")
        self._build(codes, labels)

    @where_it_lies
    def _build(self, codes: Codes, labels: Any) -> None:
        self._labels = None if labels is None else arrays.integers(labels, "labels", (len(codes),), codes.data).copy()
        alive = cuda_arrays.namespace(self._on_device).ones(len(codes), bool)
        self._database = Database(codes.host.copy(), codes.n_bits, alive)
        if self._order == "clustered":
            self._database.clustering = clustering.cluster(self._database.codes, codes.n_bits, _distances())
        self._prepare()

    @property
    def n_bits(self) -> int:
        return self._database.n_bits

    @property
    def n_rows(self) -> int:
        return len(self._database.codes)

    @property
    def labels(self) -> Any:
        if self._labels is None or self._on_device:
            return None if self._labels is None else self._export(self._labels.copy())
        view = self._labels.view()
        view.flags.writeable = False
        return view

    @where_it_lies
    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    def __repr__(self) -> str:
        return f"HammingIndex({len(self)} x {self.n_bits} bits, order={self._order!r})"

    @where_it_lies
    def topk(
        self,
        queries: Any,
        k: int,
        *,
        query_ids: Any = None,
        query_labels: Any = None,
        exclude: Any = None,
        allow: Any = None,
        max_distance: int | None = None,
        metric: str = "hamming",
        offset: int = 0,
        probe: float = 1.0,
        backend: str = "auto",
        threads: int | None = None,
        progress: Progress = False,
    ) -> TopK:
        """The k nearest rows of every query; see `hamming_topk` for all arguments but `probe`.

        Parameters
        ----------
        queries : Codes, or uint8 array (nq, width)
        k : int
        probe : float
            Share of the blocks to visit, those with the nearest centers first; 1.0 is exact. More are visited
            until k allowed rows are held. Ignored for ``order="given"``.

        Returns
        -------
        TopK
            distances int32 (nq, k), indices int64 (nq, k).
        """
        codes = self._same_bits(queries, "queries")
        if (query_labels is None) != (self._labels is None):
            have = "has labels, so query_labels must be given" if query_labels is None else "was made without labels"
            raise ValueError(f"query_labels exclude only together with the labels of the index: the index {have}")
        masks = exclusions.build(
            len(codes), self.n_rows, query_ids=query_ids, query_labels=query_labels,
            database_labels=self._labels, exclude=exclude, allow=allow, like=codes.data,
        )  # fmt: skip
        if self._database.layout is None and self._on_device:
            self._prepare()
        return run_topk(
            self._database, codes, k, masks, max_distance=max_distance, metric=metric, offset=offset,
            backend=backend, threads=threads, progress=progress, probe=probe,
        )  # fmt: skip

    @where_it_lies
    def update(self, ids: Any, codes: Any, labels: Any = None, *, rabitq: Any = None) -> None:
        """Replace the codes of the rows `ids`; of repeated ids the last wins, and removed rows come back.

        Parameters
        ----------
        ids : array, int (m,)
        codes : Codes, or uint8 array (m, width)
        labels : array, int (m,), optional
            New labels; the old ones stay without it.
        rabitq : RabitqRows, of m rows
            Needed where the index keeps such numbers, by `keep_rabitq`.
        """
        self._check_changeable()
        ids = self._rows(ids)
        codes = self._same_bits(codes, "codes")
        if len(codes) != len(ids):
            raise ValueError(f"codes has {len(codes)} rows for {len(ids)} ids")
        labels = None if labels is None else self._new_labels(labels, len(ids))
        numbers = self._numbers_of(rabitq, len(ids))
        ids, last = _last_of_each(ids)
        self._database.codes[ids] = codes.host[last]
        self._alive[ids] = True
        if labels is not None:
            self._labels[ids] = labels[last]  # type: ignore[index]
        if self._rabitq is not None and numbers is not None:
            self._rabitq.write(ids, numbers, last)
        if (clusters := self._database.clustering) is not None:
            clustering.widen(clusters, self._database.codes[ids], clusters.positions[ids])
        self._write(self._database, ids)

    @where_it_lies
    def add(self, codes: Any, labels: Any = None, *, rabitq: Any = None) -> Any:
        """Append codes, with labels and `rabitq` if the index has them, and return their row numbers, int64 (m,)."""
        self._check_changeable()
        codes = self._same_bits(codes, "codes")
        if labels is None and self._labels is not None:
            raise ValueError("labels is missing: the index has labels, so added codes need them too")
        all_labels = None if labels is None else np.concatenate([self._labels, self._new_labels(labels, len(codes))])
        numbers = self._numbers_of(rabitq, len(codes))
        first, make = self.n_rows, cuda_arrays.namespace(self._on_device)
        grown = replace(
            self._database,
            codes=np.concatenate([self._database.codes, codes.host]),
            alive=np.concatenate([self._alive, make.ones(len(codes), bool)]),
        )
        if grown.clustering is not None:
            grown.clustering = clustering.extend(grown.clustering, grown.codes, self.n_bits, _distances())
        added = make.arange(first, len(grown.codes))
        try:
            self._write(grown, added)
        except BaseException:  # the layout is shared, and may hold some of the new rows
            self._prepare()
            raise
        self._database, self._labels = grown, all_labels
        if self._rabitq is not None and numbers is not None:
            self._rabitq.append(numbers)
        return self._export(added)

    @where_it_lies
    def remove(self, ids: Any) -> None:
        """Never return the rows `ids` again; the other rows keep their numbers."""
        ids, _ = _last_of_each(self._rows(ids))
        self._alive[ids] = False
        self._write(self._database, ids)

    @where_it_lies
    def codes(self, ids: Any = None) -> Codes:
        """The codes of the rows `ids`, or of all rows, removed ones included."""
        rows = slice(None) if ids is None else self._rows(ids)
        return Codes._of(self._database.codes[rows].copy(), self.n_bits, self._place)

    def moved_to(self, x: Any) -> HammingIndex:
        """A copy of the index where an array lies: on its device, or on the host.

        Parameters
        ----------
        x : array
            The copy gives its codes and row numbers as arrays of this framework, or of NumPy on the host.

        Returns
        -------
        HammingIndex
            With the same rows, order, labels and removed rows; without the numbers of `keep_rabitq` on a device.

        Examples
        --------
        >>> import numpy as np, hashneg as hn
        >>> index = hn.HammingIndex(np.arange(6, dtype=np.uint8).reshape(3, 2))
        >>> index.remove([1])
        >>> len(index.moved_to(np.empty(0)))
        2
        """
        return self._of_tensors(*self._saved(), place_of(x))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write codes, labels and order as a safetensors file, from a device by way of the host.

        The file is whole or absent.
        """
        tensors, about = self._saved()
        files.save_tensors(path, "index", tensors, about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HammingIndex:
        """Read what `save` wrote, to the host; `moved_to` brings it to a device. The layout is built anew.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is truncated, or was not written by `HammingIndex.save`.
        """
        tensors, about = files.load_tensors(path, "index")
        try:
            return cls._of_tensors(tensors, about, np.empty(1))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"path {os.fspath(path)!r} does not hold a sound index: {error}") from error

    @classmethod
    def _of_tensors(cls, tensors: dict[str, np.ndarray], about: dict[str, Any], place: Any) -> HammingIndex:
        codes, alive = Codes(tensors["codes"], about["n_bits"]), tensors["alive"]
        if alive.dtype != np.bool_ or alive.shape != (len(codes),):
            raise ValueError(f"alive is {arrays.describe(alive)} for {len(codes)} codes")
        index = object.__new__(cls)
        index._place = place
        index._order = checks.choice(about["order"], "order", ORDERS)
        labels = arrays.integers(tensors["labels"], "labels", (len(codes),)) if "labels" in tensors else None
        with arrays.current_stream(place):
            copy = cuda_arrays.upload if index._on_device else np.copy
            index._labels = None if labels is None else copy(labels)
            index._database = Database(copy(codes.host), codes.n_bits, copy(alive))
            if index._order == "clustered":
                stored = Clustering(tensors["order"], about["block"], tensors["centers"], tensors["radii"].copy())
                index._database.clustering = clustering.checked(stored, codes.host)
            index._prepare()
        index._rabitq = None if index._on_device else Kept.load(tensors, about, index.n_bits, index.n_rows)
        return index

    @where_it_lies
    def _saved(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything the index holds, on the host."""
        held = {"codes": self._database.codes, "alive": self._alive, "labels": self._labels}
        tensors = {name: cuda_arrays.download(value) for name, value in held.items() if value is not None}
        if (clusters := self._database.clustering) is not None:
            tensors |= {"order": clusters.order, "centers": clusters.centers, "radii": clusters.radii}
        size = clusters.size if clusters is not None else None
        about = {"n_bits": self.n_bits, "order": self._order, "block": size}
        return (tensors, about) if self._rabitq is None else self._rabitq.saved(tensors, about)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the prepared layout, which belongs to one process and machine."""
        return self.__dict__ | {"_database": replace(self._database, layout=None)}

    def __copy__(self) -> HammingIndex:
        """As `copy.deepcopy`: two indexes that share codes would lay them out apart."""
        return deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    @property
    def _alive(self) -> np.ndarray:
        assert self._database.alive is not None
        return self._database.alive

    @property
    def _on_device(self) -> bool:
        return arrays.is_on_device(self._place)

    @property
    def _export(self) -> Callable[[Any], Any]:
        return arrays.exporter(self._place)

    def _prepare(self) -> None:
        self._backend = choose_backend(on_device=self._on_device)
        implementation("prepare", self._backend)(self._database)

    def _write(self, database: Database, rows: np.ndarray) -> None:
        if self._on_device:
            database.layout = None  # made anew by the next search: training updates more often than it searches
        else:
            implementation("write", self._backend)(database, rows)

    def _check_changeable(self) -> None:
        if self._on_device and self._order == "clustered":  # centers and radii are on the host
            raise ValueError("a clustered index on a device keeps its codes; change it on the host, and move it again")

    def _same_bits(self, x: Any, name: str) -> Codes:
        codes = as_codes(x, name, device=True)
        if arrays.is_on_device(codes.data) != self._on_device:
            raise RuntimeError(
                f"{name} is a {arrays.describe(codes.data)}, but the index lies on "
                f"{'a CUDA device' if self._on_device else 'the host'}; see HammingIndex.moved_to"
            )
        if codes.n_bits != self.n_bits:
            raise ValueError(f"{name} has n_bits={codes.n_bits} but the index has n_bits={self.n_bits}")
        return codes

    def _rows(self, ids: Any) -> np.ndarray:
        ids = arrays.integers(ids, "ids", (None,), self._place)
        exclusions.check_ids(ids, "ids", self.n_rows, none=False)
        return ids

    def _new_labels(self, labels: Any, n: int) -> np.ndarray:
        if self._labels is None:
            raise ValueError("labels were given, but the index was made without labels")
        return arrays.integers(labels, "labels", (n,), self._place)


def _last_of_each(ids: Any) -> tuple[Any, Any]:
    """Rows, and the place in `ids` where each comes last.

    On a device a row may come more than once, always with that place: how many there are, the host does not know.
    """
    if isinstance(ids, np.ndarray):
        rows, last = np.unique(ids[::-1], return_index=True)
        return rows, len(ids) - 1 - last
    order = np.argsort(ids, kind="stable")
    rows = ids[order]
    return rows, order[np.searchsorted(rows, rows, side="right") - 1]


def _distances() -> clustering.Distances:
    return implementation("distances", choose_backend())
