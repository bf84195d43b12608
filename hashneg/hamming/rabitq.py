"""Scoring the candidates of an index by RaBitQ, when the embeddings of its rows are no longer at hand."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from hashneg import arrays, checks
from hashneg.codes import Codes
from hashneg.hamming.order import best_first
from hashneg.hamming.results import ScoredTopK
from hashneg.quantize import BinaryQuantizer

if TYPE_CHECKING:
    from hashneg.theory import RabitqRows

RERANKS = ("rabitq",)


class Rescored:
    """The part of `HammingIndex` that keeps two numbers of every row, and scores candidates by them."""

    _rabitq: Kept | None = None
    n_bits: Any
    n_rows: Any
    topk: Any
    _database: Any
    _on_device: Any

    @property
    def quantizer(self) -> BinaryQuantizer | None:
        """The quantizer given to `keep_rabitq`, with which `theory.rabitq_rows` makes the numbers of new rows."""
        return None if self._rabitq is None else copy(self._rabitq.quantizer)

    def keep_rabitq(self, quantizer: BinaryQuantizer, rows: RabitqRows) -> None:
        """Keep two numbers of every row, for `scored_topk`. From then on, `update` and `add` need those of their rows.

        Parameters
        ----------
        quantizer : BinaryQuantizer
            The one that encoded the rows, which were scaled to length 1. That it is the same cannot be checked: with
            another one the scores mean nothing.
        rows : RabitqRows
            Of all rows of the index, from `theory.rabitq_rows`. Copied.

        Raises
        ------
        TypeError, ValueError
            If the quantizer is not one that RaBitQ holds for, or does not fit the index or the rows.
        RuntimeError
            If the index lies on a CUDA device.
        """
        if self._on_device:
            raise RuntimeError("RaBitQ scores on the host, but the index lies on a CUDA device; see moved_to")
        self._rabitq = Kept(quantizer, rows, self.n_bits, self.n_rows)

    def scored_topk(
        self,
        queries: Any,
        k: int,
        *,
        rerank: str = "rabitq",
        pool: int = 4,
        offset: int = 0,
        backend: str = "auto",
        threads: int | None = None,
        **search: Any,
    ) -> ScoredTopK:
        """The k best of the ``pool * k`` nearest rows of every query, by their estimated cosine.

        The estimate is that of `theory.rabitq_scores`, from the codes, two numbers a row and the queries themselves.

        Parameters
        ----------
        queries : array, float (nq, d)
            Embeddings, not codes, on the host.
        k : int
        rerank : "rabitq"
        pool : int
            Candidates for each of the k.
        offset, backend, threads
            As in `topk`.
        **search
            The other arguments of `topk`.

        Returns
        -------
        ScoredTopK
            scores float32 and indices int64 (nq, k), sorted by (-score, index), padded with NaN and -1, of the
            framework of `queries`.

        Notes
        -----
        Takes about 30 bytes for each query and candidate: pass many queries in parts.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `topk`; ValueError also if the index keeps no numbers of its rows, and for NaN or infinity.

        Examples
        --------
        >>> import numpy as np, hashneg as hn
        >>> x = np.random.default_rng(0).standard_normal((500, 64), dtype=np.float32)
        >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
        >>> quantizer = hn.BinaryQuantizer(64)
        >>> index = hn.HammingIndex(quantizer.fit_encode(x))
        >>> index.keep_rabitq(quantizer, hn.theory.rabitq_rows(quantizer, x))
        >>> index.scored_topk(x[:1], 2).scores.astype(float).round(2).tolist()  # of itself, and of another
        [[1.0, 0.43]]
        """
        from hashneg import theory  # which imports this package

        checks.choice(rerank, "rerank", RERANKS)
        if self._rabitq is None:
            raise ValueError("the index keeps no numbers of its rows; give it those of theory.rabitq_rows: keep_rabitq")
        k, pool = checks.integer(k, "k", minimum=1), checks.integer(pool, "pool", minimum=1)
        offset = checks.integer(offset, "offset", minimum=0)
        quantizer, rows = self._rabitq.quantizer, self._rabitq.rows
        points = arrays.embeddings(queries, "queries").normalize()
        found = self.topk(quantizer.encode(points), pool * k, backend=backend, threads=threads, **search)
        codes = Codes._of(self._database.codes, self.n_bits, self._database.codes)
        scores, _ = theory.rabitq_scores(
            quantizer, rows, codes, points, found.indices, backend=backend, threads=threads
        )
        scores, indices = best_first(scores, found.indices, k)
        indices[indices >= 0] += offset
        export = arrays.exporter(queries)
        return ScoredTopK(export(scores), export(indices))

    def _numbers_of(self, rows: RabitqRows | None, n: int) -> RabitqRows | None:
        """The numbers of n rows that are written: as many as the index keeps, checked."""
        if self._rabitq is None:
            if rows is not None:
                raise ValueError("rabitq was given, but the index keeps no such numbers; see keep_rabitq")
            return None
        if rows is None:
            raise ValueError(
                "rabitq is missing: the index keeps numbers of its rows, so written codes need those of "
                "theory.rabitq_rows(index.quantizer, embeddings)"
            )
        return self._rabitq.checked(rows, n)


class Kept:
    """The two numbers of every row of an index, with the quantizer of its codes."""

    def __init__(self, quantizer: BinaryQuantizer, rows: RabitqRows, n_bits: int, n_rows: int) -> None:
        from hashneg.theory.rabitq import RabitqRows, center_of

        if not isinstance(rows, RabitqRows):
            raise TypeError(f"rows must be RabitqRows, from theory.rabitq_rows, got {arrays.describe(rows)}")
        self.mean = center_of(quantizer, rows.mean)
        if quantizer.n_bits != n_bits:
            raise ValueError(f"quantizer has n_bits={quantizer.n_bits} but the index has n_bits={n_bits}")
        self.quantizer = copy(quantizer)  # fitting replaces what a quantizer holds and writes to none of it
        self.rows = self.checked(rows, n_rows)

    def checked(self, rows: RabitqRows, n: int) -> RabitqRows:
        """A copy of the numbers of n rows; ValueError if they do not belong to this index."""
        from hashneg.theory.rabitq import RabitqRows

        if not isinstance(rows, RabitqRows):
            raise TypeError(f"rabitq must be RabitqRows, from theory.rabitq_rows, got {arrays.describe(rows)}")
        norms, factors = (np.array(numbers, np.float32) for numbers in rows[:2])
        if not norms.shape == factors.shape == (n,):
            raise ValueError(f"rabitq holds {norms.shape} and {factors.shape} numbers for {n} rows")
        if not np.allclose(rows.mean, self.mean, rtol=1e-5, atol=1e-9):
            raise ValueError("rabitq was made around another mean than that of the index")
        return rows._replace(norms=norms, factors=factors, mean=self.mean)

    def write(self, ids: np.ndarray, rows: RabitqRows, places: np.ndarray) -> None:
        """Give the rows `ids` the numbers at some places of `rows`."""
        self.rows.norms[ids], self.rows.factors[ids] = rows.norms[places], rows.factors[places]

    def append(self, rows: RabitqRows) -> None:
        norms, factors = (np.concatenate(both) for both in zip(self.rows[:2], rows[:2], strict=True))
        self.rows = self.rows._replace(norms=norms, factors=factors)

    def saved(
        self, tensors: dict[str, np.ndarray], about: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What an index saves, with what `load` needs."""
        parts, quantizer = self.quantizer._saved()
        named = {f"quantizer.{name}": value for name, value in parts.items()}
        numbers = {f"rabitq.{name}": value for name, value in self.rows._asdict().items()}
        return tensors | named | numbers, about | {"quantizer": quantizer}

    @classmethod
    def load(cls, tensors: dict[str, np.ndarray], about: dict[str, Any], n_bits: int, n_rows: int) -> Kept | None:
        """What `saved` gave; None where an index kept no numbers."""
        from hashneg.theory import RabitqRows

        if "quantizer" not in about:
            return None
        head = "quantizer."
        parts = {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
        quantizer = BinaryQuantizer._of_saved(parts, about["quantizer"])
        rows = RabitqRows(*(tensors[f"rabitq.{name}"] for name in RabitqRows._fields))
        return cls(quantizer, rows, n_bits, n_rows)
