"""What a mining run did: scores, removed candidates, short anchors, time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_MOST_SCORES = 1 << 20  # quantiles of larger results are taken over evenly spaced anchors


@dataclass(frozen=True)
class ScoreSummary:
    """Distribution of scores.

    Attributes
    ----------
    count : int
    mean, std : float
    quantiles : dict of float to float
        At 0, 0.05, 0.25, 0.5, 0.75, 0.95 and 1; over evenly spaced anchors where there are many.
    """

    count: int
    mean: float
    std: float
    quantiles: dict[float, float]

    @classmethod
    def of(cls, scores: Any) -> ScoreSummary | None:
        """Summarise an array in which NaN is padding; None if there is nothing else."""
        count = int(np.count_nonzero(~np.isnan(scores)))
        if not count:
            return None
        sample = scores[:: -(-scores.size // _MOST_SCORES)]
        sample = sample[~np.isnan(sample)]
        if not len(sample):  # few real scores among many rows, all of them between the sampled rows
            sample = scores[~np.isnan(scores)]
        at = (0.05, 0.25, 0.5, 0.75, 0.95)
        with np.errstate(invalid="ignore"):  # a caller's function may score with infinities
            quantiles = dict(zip(at, np.quantile(sample, at).tolist(), strict=True))
            mean = float(np.nansum(scores, dtype=np.float64)) / count
            std = float(np.std(sample, dtype=np.float64))
        return cls(count, mean, std, {0.0: float(np.nanmin(scores)), **quantiles, 1.0: float(np.nanmax(scores))})


@dataclass(frozen=True)
class MiningReport:
    """What a mining run did.

    Attributes
    ----------
    n_anchors, n_corpus, n_bits, k : int
    pool : int
        Candidates taken from the Hamming search for each anchor.
    mined : int
        Negatives returned.
    short : int
        Anchors with fewer than k negatives.
    removed : dict of str to int
        Candidates that each filter removed; a candidate counts for the first filter it fails.
    positives, negatives : ScoreSummary or None
        Scores of each anchor's lowest positive, and of the negatives returned.
    seconds : dict of str to float
        Wall time of each step.
    fingerprint : str
        Of the quantizer used.
    """

    n_anchors: int
    n_corpus: int
    n_bits: int
    k: int
    pool: int
    mined: int
    short: int
    removed: dict[str, int]
    positives: ScoreSummary | None
    negatives: ScoreSummary | None
    seconds: dict[str, float] = field(default_factory=dict)
    fingerprint: str = ""

    def __str__(self) -> str:
        lines = [f"{name:<28}{value}" for name, value in self.rows()]
        return "\n".join(lines)

    def rows(self) -> list[tuple[str, str]]:
        """The report as (what, value) texts."""
        rows = [
            ("anchors", f"{self.n_anchors:,}"),
            ("corpus", f"{self.n_corpus:,} rows, {self.n_bits} bits"),
            ("pool per anchor", f"{self.pool:,} candidates"),
            ("negatives", f"{self.mined:,} of {self.n_anchors * self.k:,} asked for"),
            ("anchors short of k", f"{self.short:,}"),
        ]
        rows += [
            (f"removed by {name}", f"{count:,}")
            for name, count in self.removed.items()
            if count or name != "rank window"
        ]
        for name, summary in (("positive scores", self.positives), ("negative scores", self.negatives)):
            if summary is not None:
                q = summary.quantiles
                rows.append(
                    (name, f"mean {summary.mean:.3f}, median {q[0.5]:.3f}, 5-95 % {q[0.05]:.3f} to {q[0.95]:.3f}")
                )
        rows += [(f"seconds, {step}", f"{seconds:.2f}") for step, seconds in self.seconds.items()]
        return rows
