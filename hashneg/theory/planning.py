"""plan: how many bits a user's own embeddings need, and what is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.arrays import Embeddings
from hashneg.backends import choose_backend
from hashneg.codes import width_of
from hashneg.progress import Progress
from hashneg.theory import values
from hashneg.theory.calibration import Costs, calibrate
from hashneg.theory.neighbourhood import Neighbourhood, spread_rows
from hashneg.theory.overlap import Law
from hashneg.threads import thread_count

N_BITS = (64, 128, 256, 512, 1024)
RERANKS = (0, 2, 4, 8, 16)


@dataclass(frozen=True)
class PlanRow:
    """What one choice of bits and rerank factor is expected to do.

    Attributes
    ----------
    n_bits, rerank : int
        As in `mine_hard_negatives`; rerank 0 keeps the Hamming order.
    overlap, overlap_error : float
        Mean overlap@k with the exact neighbours, and its standard error from the choice of queries.
    recall, recall_error : float
        Share of queries whose nearest row is among the k returned, and its standard error.
    bytes : int
        Of the codes of n rows and of the layout that a search prepares from them.
    seconds : float or None
        To encode, search and rerank on this machine: extrapolated from a run of a moment, and good to a factor of two.
        None without calibration.
    """

    n_bits: int
    rerank: int
    overlap: float
    overlap_error: float
    recall: float
    recall_error: float
    bytes: int
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """Predictions for every number of bits and rerank factor, and the cheapest that is enough.

    Attributes
    ----------
    rows : tuple of PlanRow
    choice : PlanRow or None
        The one that takes the least time (without calibration: the fewest bits, then the least reranking) among those
        that meet the targets; with `max_bytes` alone, the one with the largest overlap. None where nothing was asked
        for, or nothing is enough.
    k, n : int
    n_queries : int
        Queries the prediction was made from.
    targets : dict
        What was asked for.
    """

    rows: tuple[PlanRow, ...]
    choice: PlanRow | None
    k: int
    n: int
    n_queries: int
    targets: dict[str, float]

    def table(self) -> list[tuple[str, ...]]:
        """Texts in columns, the names of the columns first."""
        head = ("bits", "rerank", f"overlap@{self.k}", "nearest found", "memory", "time")
        return [head, *(self._texts(row) for row in self.rows)]

    @property
    def verdict(self) -> str:
        """One sentence: what is enough."""
        asked = ", ".join(
            {
                "target_overlap": f"overlap@{self.k} of {value:g}",
                "target_recall": f"the nearest row found for a share of {value:g}",
                "max_bytes": f"at most {_size(value)}",
            }[name]
            for name, value in self.targets.items()
        )
        if not asked:
            return "no target was given, so nothing was chosen"
        if self.choice is None:
            return f"none of these is enough for {asked}"
        return f"{self.choice.n_bits} bits with rerank={self.choice.rerank} are enough for {asked}"

    def __str__(self) -> str:
        table = self.table()
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([*lines, self.verdict])

    def _texts(self, row: PlanRow) -> tuple[str, ...]:
        return (
            str(row.n_bits),
            str(row.rerank),
            f"{row.overlap:.3f} ± {row.overlap_error:.3f}",
            f"{row.recall:.3f} ± {row.recall_error:.3f}",
            _size(row.bytes),
            "-" if row.seconds is None else _duration(row.seconds),
        )


def plan(
    sample: Any,
    k: int = 16,
    *,
    target_overlap: float | None = None,
    target_recall: float | None = None,
    max_bytes: float | None = None,
    queries: Any = None,
    n: int | None = None,
    n_bits: Sequence[int] = N_BITS,
    rerank: Sequence[int] = RERANKS,
    rotation: str = "orthogonal",
    center: str | None = "mean",
    n_queries: int = 512,
    calibration: bool = True,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress = False,
) -> Plan:
    """Predict overlap, recall, memory and time for several numbers of bits, and choose what is enough.

    Nothing is encoded for the prediction: it follows from the angles between some queries and the rows, by the laws of
    this package. The law used for overlap@k is that of `expected_overlap`, with the residual correlation measured among
    the rows that compete for the last places of each pool.

    Parameters
    ----------
    sample : array, float (m, d)
        The embeddings to mine from, or a sample of them. A memory map is read block by block, twice.
    k : int
        Negatives per anchor.
    target_overlap, target_recall : float, optional
        What is enough: the mean overlap@k with exact cosine, and the share of queries whose nearest row is found.
    max_bytes : float, optional
        Memory for the codes and their layout.
    queries : array, float (q, d), optional
        Anchors, where they are not rows of `sample`.
    n : int, optional
        Rows of the whole corpus, m by default. It cannot exceed k m: a smaller sample does not show the k nearest rows.
    n_bits, rerank : sequence of int
        What to compare.
    rotation : {"orthogonal", "gaussian", "hadamard"}
    center : "mean" or None
    n_queries : int
        Queries to predict from, drawn by a hash of the row number; more give a smaller standard error.
    calibration : bool
        Also run encoding, search and scoring for a moment, to predict the time on this machine.
    seed : int
        Of the queries and of the competing rows drawn.
    backend, threads, progress
        As in `mine_hard_negatives`.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range, rows hold NaN or infinity, or there are too few of them.

    Notes
    -----
    The page on theory compares predictions with measurements, for 64 to 1024 bits: they agree to 0.03 on three data
    sets where `sample` is the whole corpus, and to 0.07 where it is a fifth of it.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> x = np.random.default_rng(0).standard_normal((2000, 64), dtype=np.float32)
    >>> plan = hn.theory.plan(x, k=8, target_overlap=0.8, n_bits=(128, 512), rerank=(0, 4), calibration=False)
    >>> plan.choice.n_bits, plan.choice.rerank
    (512, 4)
    """
    rows = arrays.embeddings(sample, "sample")
    anchors = None if queries is None else arrays.embeddings(queries, "queries")
    if anchors is not None and anchors.shape[1] != rows.shape[1]:
        raise ValueError(f"queries have {anchors.shape[1]} dimensions, sample has {rows.shape[1]}; they must agree")
    k = checks.integer(k, "k", minimum=1)
    others = len(rows) - (anchors is None)
    if others < k or (anchors is not None and not len(anchors)):
        raise ValueError(f"sample has {len(rows)} rows, too few to show the {k} nearest, or queries has none")
    n = len(rows) if n is None else checks.integer(n, "n", minimum=len(rows))
    if n > k * len(rows):
        raise ValueError(
            f"n={n} is more than k={k} times the {len(rows)} rows of sample; give at least {-(-n // k)} rows"
        )
    targets = _targets(target_overlap, target_recall, max_bytes)
    bits = sorted({checks.integer(b, "n_bits", minimum=1) for b in _sequence(n_bits, "n_bits")})
    factors = sorted({checks.integer(r, "rerank", minimum=0) for r in _sequence(rerank, "rerank")})
    checks.choice(center, "center", ("mean", None))
    for b in bits:
        values.blocks(b, rows.shape[1], rotation)
    seed = checks.integer(seed, "seed", minimum=0)
    backend, count = choose_backend(backend), thread_count(threads)
    drawn = spread_rows(
        len(rows if anchors is None else anchors), checks.integer(n_queries, "n_queries", minimum=2), seed
    )
    chosen = Embeddings((rows if anchors is None else anchors).take(drawn), "queries")
    pools = sorted({max(1, factor) * k for factor in factors})
    around = Neighbourhood.of(
        chosen, rows, drawn if anchors is None else None, k, pools[-1], n, center == "mean", backend, count, progress
    )
    costs = calibrate(rows, bits, pools, rotation, backend, count) if calibration else None
    total = n if anchors is None else len(anchors)
    found: list[PlanRow] = []
    for b in bits:
        overlap, recall = around.shares(Law(b, rows.shape[1], rotation), pools, k, seed)
        for factor in factors:
            place = pools.index(max(1, factor) * k)
            found.append(_row(b, factor, k, n, total, overlap[place], recall[place], costs))
    return Plan(tuple(found), _chosen(found, targets), k, n, len(drawn), targets)


def _row(
    n_bits: int, rerank: int, k: int, n: int, queries: int, overlap: np.ndarray, recall: np.ndarray, costs: Costs | None
) -> PlanRow:
    pool = max(1, rerank) * k
    return PlanRow(
        n_bits,
        rerank,
        float(overlap.mean()),
        float(overlap.std() / len(overlap) ** 0.5),
        float(recall.mean()),
        float(recall.std() / len(recall) ** 0.5),
        2 * n * width_of(n_bits),
        None if costs is None else costs.seconds(n_bits, pool, queries, n, rerank > 0),
    )


def _chosen(rows: list[PlanRow], targets: dict[str, float]) -> PlanRow | None:
    enough = [
        row
        for row in rows
        if row.overlap >= targets.get("target_overlap", 0)
        and row.recall >= targets.get("target_recall", 0)
        and row.bytes <= targets.get("max_bytes", float("inf"))
    ]
    if not targets or not enough:
        return None
    if set(targets) == {"max_bytes"}:
        return max(enough, key=lambda row: row.overlap)
    return min(enough, key=lambda row: (row.seconds or 0.0, row.n_bits, row.rerank))


def _targets(overlap: float | None, recall: float | None, max_bytes: float | None) -> dict[str, float]:
    targets = {}
    for name, value, top in (
        ("target_overlap", overlap, 1.0),
        ("target_recall", recall, 1.0),
        ("max_bytes", max_bytes, None),
    ):
        if value is not None:
            targets[name] = checks.real(value, name, minimum=0.0, maximum=top)
    return targets


def _sequence(given: Any, name: str) -> Sequence[int]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or not given:
        raise TypeError(f"{name} must be a sequence of integers, got {given!r}")
    return given


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"
