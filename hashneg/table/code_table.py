"""CodeTable: one code for every row of a training set, written by the training steps themselves."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

import numpy as np

from hashneg import checks, cuda_arrays, device_embeddings
from hashneg.arrays import Embeddings
from hashneg.codes import Codes, as_codes
from hashneg.device_embeddings import AnyEmbeddings
from hashneg.placement import where_it_lies
from hashneg.progress import Meter, Progress
from hashneg.quantize import BinaryQuantizer, NotFittedError
from hashneg.table import drift, state
from hashneg.table import refresh as refreshing
from hashneg.table.coded_rows import CodedRows
from hashneg.table.drift import Drift
from hashneg.table.kept import KeptEmbeddings
from hashneg.table.refresh import Source, ranges

MODES = ("live", "epoch")


class CodeTable(CodedRows):
    """The codes of a whole training set, kept fresh while the model learns.

    Parameters
    ----------
    n : int
        Rows of the training set; ids are 0 .. n-1.
    quantizer : int or BinaryQuantizer
        Bits of the codes, or a quantizer; the table works on a copy of it.
    mode : {"live", "epoch"}
        "live": `update` writes codes at once, by thresholds that stay as they are until a `refresh` refits them.
        "epoch": `update` keeps the embeddings in float16, and `refresh`, called at the end of an epoch, fits the
        thresholds to them and rebuilds all codes. In between the codes stand still.
    labels : array, int (n,), optional
        Rows of a row's own label are never mined for it.
    like : array, optional
        Where the table lies: on the host by default. On a CUDA device it needs mode="live", takes arrays of that
        device, and gives arrays of this framework where no ids tell another.

    Attributes
    ----------
    n, n_bits : int
    mode : str
    quantizer : BinaryQuantizer
    labels : int64 (n,) or None
    version : int
        How often the table was written to: calls of `update`, and of `refresh` with a source.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above.

    See Also
    --------
    HardBatchSampler : which composes batches from what `mine` returns.

    Notes
    -----
    Embeddings are quantized as given: for cosine similarity normalise them first. Rows that were never updated have
    no code and are never returned.

    Memory of a live table, in bytes for each row: n_bits/8 for the code, as much for the layout that is searched, and
    at most 16 for the version, the label and bookkeeping. mode="epoch" keeps 2 d bytes beside these.

    Any number of threads may mine one table; writing to it while another thread reads is not safe.

    References
    ----------
    LSH hard negatives (arXiv 2505.17844): codes from the embeddings of the training passes, rebuilt after each epoch.
    ANCE (arXiv 2007.00808): refreshing a share of the data at a time.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> table = hn.CodeTable(1000, hn.BinaryQuantizer(64).fit(x))
    >>> for ids in np.arange(1000).reshape(10, 100):  # the batches of an epoch
    ...     table.update(ids, x[ids])
    >>> table.mine([0, 1, 2], k=5).indices.shape
    (3, 5)
    >>> table.version, table.ages([0, 999]).tolist()
    (10, [9, 0])
    """

    def __init__(
        self, n: int, quantizer: int | BinaryQuantizer, *, mode: str = "live", labels: Any = None, like: Any = None
    ) -> None:
        n = checks.integer(n, "n", minimum=0)
        if not isinstance(quantizer, BinaryQuantizer):
            quantizer = BinaryQuantizer(checks.integer(quantizer, "quantizer", minimum=1))
        self.mode = checks.choice(mode, "mode", MODES)
        if mode == "epoch" and quantizer.rotation == "given":
            raise ValueError(
                "mode='epoch' fits the quantizer to each epoch, but one of from_projection is learned; use mode='live'"
            )
        super().__init__(n, quantizer.n_bits, labels, like)
        if self._on_device and mode == "epoch":
            raise ValueError("mode='epoch' keeps embeddings on the host, but like lies on a CUDA device")
        self._quantizer = copy(quantizer)  # fitting replaces what a quantizer holds and writes to none of it
        self._kept = KeptEmbeddings(self.n) if mode == "epoch" else None
        self._pointer = 0  # the row that the next chunk of a refresh starts with

    @property
    def quantizer(self) -> BinaryQuantizer:
        return copy(self._quantizer)

    def __repr__(self) -> str:
        coded = int(np.count_nonzero(self._versions))
        return f"CodeTable({self.n} x {self.n_bits} bits, mode={self.mode!r}; {coded} rows with a code)"

    @where_it_lies
    def update(self, ids: Any, embeddings: Any) -> None:
        """Take in the embeddings of a training step. Of repeated ids the last wins.

        Parameters
        ----------
        ids : array, int (m,)
        embeddings : array, float (m, d)
            As the step computed them; gradients are left alone.

        Raises
        ------
        NotFittedError
            If mode="live" and the quantizer has no thresholds yet.
        TypeError, ValueError
            If ids or embeddings are not what they should be, or do not fit each other.
        """
        ids, rows = self._batch(ids, embeddings)
        version = np.int32(self.version + 1)
        if self._kept is not None:
            if self._kept.values is None:  # a shape that the quantizer cannot take is refused now, not after the epoch
                self._encode(rows) if self._is_fitted else refreshing.unfitted(self._quantizer).partial_fit(rows)
            assert isinstance(rows, Embeddings)  # of the host, where this mode keeps them
            self._kept.update(ids, rows, version)
        else:
            self._write(ids, self._encode(rows), version)
        self.version += 1

    @where_it_lies
    def update_codes(self, ids: Any, codes: Any) -> None:
        """Take in codes that were computed elsewhere, as on a device, by the quantizer of the table; mode="live" only.

        Parameters
        ----------
        ids : array, int (m,)
        codes : Codes, or uint8 array (m, width)

        Raises
        ------
        TypeError, ValueError
            If ids or codes are not what they should be, or mode="epoch", which needs embeddings.
        """
        if self._kept is not None:
            raise ValueError("mode='epoch' makes its codes from embeddings; pass these to update")
        self._write(self._ids(ids), as_codes(codes, "codes", device=True), np.int32(self.version + 1))
        self.version += 1

    @where_it_lies
    def refresh(
        self,
        source: Any = None,
        *,
        chunks: int = 1,
        refit: bool = False,
        batch_size: int = 1024,
        progress: Progress = False,
    ) -> Any:
        """Rebuild codes: all of them from the kept embeddings ("epoch"), or some from fresh ones ("live").

        Parameters
        ----------
        source : array, float (n, d), or function, for mode="live"
            Embeddings of all rows, or a function that computes those of some: called with int64 ids (m,), of NumPy,
            it returns a float array (m, d). mode="epoch" takes none: pass new embeddings to `update`, then refresh.
        chunks : int
            Refresh ceil(n / chunks) rows and go on behind them in the next call; the pointer is part of the state.
        refit : bool
            Fit the thresholds to the embeddings of all rows first, which are held in memory meanwhile; needs chunks=1.
            mode="epoch" always refits, and so does a table whose quantizer was not fitted.
        batch_size : int
            Most rows that a function is called with.
        progress : bool or callable
            Show a progress bar, or call ``progress(done, total)``.

        Returns
        -------
        array, int64
            The rows whose codes are new, in order.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it should be, or `source` is missing or not wanted. The table is as it was.
        """
        chunks = checks.integer(chunks, "chunks", minimum=1)
        batch_size = checks.integer(batch_size, "batch_size", minimum=1)
        if self._kept is not None:
            if source is not None or chunks > 1:
                raise ValueError("mode='epoch' rebuilds all codes from the embeddings it keeps; pass new ones to "
                                 "update, and call refresh() without source and chunks")  # fmt: skip
            if not self._kept.versions.any():
                raise ValueError("there is nothing to rebuild codes from: update the table during the epoch first")
            return self._rebuild(self._kept, self._kept.blocks())
        if source is None:
            raise ValueError("source is missing: mode='live' keeps no embeddings, so refresh needs those of all rows, "
                             "or a function that computes them")  # fmt: skip
        refit = refit or not self._is_fitted
        if refit and chunks > 1:
            raise ValueError(f"thresholds are fitted to all rows, so refit and an unfitted quantizer need chunks=1, "
                             f"got {chunks}")  # fmt: skip
        reader, count = Source(source, self.n, self._place), -(-self.n // chunks)
        version, numbers = np.int32(self.version + 1), cuda_arrays.namespace(self._on_device).arange(count)
        rows = (self._pointer + numbers) % max(self.n, 1)
        if count:
            cuts = list(ranges(self._pointer, count, self.n, batch_size))
            with Meter(progress, count, "refreshing") as meter:
                codes, self._quantizer = refreshing.from_source(reader, cuts, self._quantizer, refit, meter)
            self._write(rows, codes, version)
            self._pointer = (self._pointer + count) % self.n
        self.version += 1
        return self._export(None)(rows)

    @where_it_lies
    def drift(self, ids: Any, embeddings: Any) -> Drift:
        """How far the model has moved away from the codes of some rows.

        Parameters
        ----------
        ids : array, int (m,)
            A sample of rows; a few hundred tell the mean angle to about a hundredth of a radian.
        embeddings : array, float (m, d)
            Their embeddings by the model of now.

        Returns
        -------
        Drift
            angle (the mean), angles (m,) and distances (m,), of the framework of `embeddings`.

        Notes
        -----
        The estimate is pi H / n_bits, unbiased for the angle between the embeddings less the center of the quantizer
        (Charikar, STOC 2002).

        Examples
        --------
        >>> import numpy as np, hashneg as hn
        >>> x, other = np.random.default_rng(0).standard_normal((2, 500, 64))
        >>> table = hn.CodeTable(500, 256)
        >>> rows = table.refresh(x)
        >>> round(table.drift(range(500), np.cos(0.3) * x + np.sin(0.3) * other).angle, 1)
        0.3
        """
        ids, rows = self._batch(ids, embeddings)
        known = self._versions[ids] > 0
        with checks.checked_before():
            stored = self._index.codes(ids).host
        fresh = self._encode(rows).host if self._is_fitted or known.any() else stored
        return drift.measure(stored, fresh, known, self.n_bits, embeddings)

    def refresh_due(self, ids: Any, embeddings: Any, *, max_angle: float = 0.2) -> bool:
        """Whether the codes of a sample have drifted by more than `max_angle` on average.

        Parameters
        ----------
        ids, embeddings
            As in `drift`.
        max_angle : float
            In radians. The codes blur angles by up to pi / (2 sqrt(n_bits)) themselves, 0.1 at 256 bits, so that less
            hardly changes what is mined.

        Returns
        -------
        bool
            True also where no row of the sample has a code.
        """
        max_angle = checks.real(max_angle, "max_angle", minimum=0.0)
        return not self.drift(ids, embeddings).angle <= max_angle  # NaN: no codes

    @where_it_lies
    def state_dict(self) -> dict[str, Any]:
        """Everything the table holds, in copies: numbers, strings, NumPy arrays, and a dict of these for the quantizer.

        A table of the same n, mode and n_bits that loads it, on the host or on a device, goes on as this one would.
        """
        return state.of_table(self)

    @where_it_lies
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Become the table that `state_dict` describes; arrays may have become those of another framework.

        Raises
        ------
        TypeError, ValueError
            If it is not a state of a table of this n, mode and n_bits. The table is as it was.
        """
        self.__dict__.update(state.to_table(self, state_dict))

    @property
    def _is_fitted(self) -> bool:
        return self._quantizer.dim is not None

    def _encode(self, rows: AnyEmbeddings) -> Codes:
        if not self._is_fitted:
            raise NotFittedError("the quantizer of the table has no thresholds yet; refresh(embeddings of all rows) "
                                 "fits it, or make the table with a fitted quantizer")  # fmt: skip
        return self._quantizer.encode(rows)

    def _write(self, ids: Any, codes: Codes, version: np.int32) -> None:
        with checks.checked_before():
            self._index.update(ids, codes)
        self._versions[ids] = version

    def _rebuild(self, kept: KeptEmbeddings, blocks: Iterable[Any]) -> np.ndarray:
        """Codes of all kept rows, by thresholds fitted to `blocks`."""
        rows, quantizer = kept.rows, refreshing.fitted_anew(self._quantizer, blocks)
        if len(rows):
            self._index.update(rows, refreshing.joined([quantizer.encode(block) for block in kept.blocks()]))
            self._versions[rows] = kept.versions[rows]
        self._quantizer = quantizer
        return rows

    def _batch(self, ids: Any, embeddings: Any) -> tuple[Any, AnyEmbeddings]:
        rows = device_embeddings.embeddings(embeddings, "embeddings", self._place)
        numbers = self._ids(ids, device_embeddings.finite_check(rows))
        if len(numbers) != len(rows):
            raise ValueError(f"embeddings must have a row for each of the {len(numbers)} ids, got shape {rows.shape}")
        return numbers, rows
