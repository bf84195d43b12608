"""Which scored candidates stay, and which of those are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg import checks, cuda_arrays
from hashneg.randomness import mix64

STRATEGIES = ("top", "random")


@dataclass(frozen=True)
class Filters:
    """Score limits, margins below the positive, and the rank window.

    Attributes
    ----------
    min_score, max_score : float or None
        Both inclusive.
    absolute_margin : float or None
        Keep scores <= pos - absolute_margin.
    relative_margin : float or None
        Keep scores <= pos - abs(pos) * relative_margin; abs() keeps a negative pos from loosening it.
    range_min, range_max : int, int or None
        Keep ranks range_min <= rank < range_max among the candidates that passed the filters above.
    """

    min_score: float | None = None
    max_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    range_min: int = 0
    range_max: int | None = None

    @classmethod
    def checked(cls, k: int, has_positives: bool, **limits: float | None) -> Filters:
        """Filters from user arguments; ValueError where they cannot be met."""
        for name in ("min_score", "max_score", "absolute_margin"):
            if limits[name] is not None:
                limits[name] = checks.real(limits[name], name)
        if limits["relative_margin"] is not None:
            limits["relative_margin"] = checks.real(limits["relative_margin"], "relative_margin", minimum=0.0)
        low, high = limits["min_score"], limits["max_score"]
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_score={low} is above max_score={high}: nothing could be returned")
        for name in ("absolute_margin", "relative_margin"):
            if limits[name] is not None and not has_positives:
                raise ValueError(f"{name} is a distance below the positive's score, so it needs positives")
        start = checks.integer(limits["range_min"], "range_min", minimum=0)
        stop = limits["range_max"]
        if stop is not None:
            stop = checks.integer(stop, "range_max", minimum=1)
            if stop - start < k:
                raise ValueError(
                    f"range_max - range_min = {stop - start} leaves fewer ranks than k={k}; widen the window or lower k"
                )
        return cls(**{**limits, "range_min": start, "range_max": stop})  # type: ignore[arg-type]

    @property
    def limits(self) -> list[str]:
        """Names of the score limits that are set, in the order in which they are applied."""
        names = ["min_score", "max_score", "absolute_margin", "relative_margin"]
        return [name for name in names if getattr(self, name) is not None]

    def within_limits(self, scores: Any, positive: Any) -> tuple[Any, dict[str, Any]]:
        """Which candidates keep to the score limits, bool (m, p), and how many each limit removed.

        Parameters
        ----------
        scores : float (m, p), in any order, NaN where there is no candidate
        positive : float (m,), the lowest score among the anchor's positives, NaN where it has none
        """
        kept = ~np.isnan(scores)
        removed = {}
        for name in self.limits:
            passed = self._passes(name, scores.astype(np.float64), positive.astype(np.float64)[:, None])
            removed[name] = plain_int(np.count_nonzero(kept & ~passed))
            kept = kept & passed
        return kept, removed

    def in_window(self, counts: Any) -> Any:
        """How many of the candidates that are left of each anchor have a rank in the window, int (m,)."""
        last = counts if self.range_max is None else np.minimum(counts, self.range_max)
        return np.maximum(last - self.range_min, 0)

    def _passes(self, name: str, scores: Any, positive: Any) -> Any:
        with np.errstate(invalid="ignore"):  # NaN scores are no candidates
            if name == "min_score":
                return scores >= self.min_score
            if name == "max_score":
                return scores <= self.max_score
            if name == "absolute_margin":
                return np.isnan(positive) | (scores <= positive - self.absolute_margin)
            below = np.where(np.isinf(positive), positive, positive - np.abs(positive) * self.relative_margin)
            return np.isnan(positive) | (scores <= below)


def draw(kept: Any, k: int, seed: int, anchor_rows: np.ndarray) -> Any:
    """Mark at most k of the kept candidates of every anchor, bool (m, p), drawn without replacement.

    By a hash of (seed, anchor row, place), so that an anchor's draw does not depend on the other anchors of the call.
    """
    place = np.cumsum(kept, axis=1).astype(np.uint64)
    own = cuda_arrays.beside(mix64(anchor_rows, seed), kept)
    keys = mix64(place ^ own[:, None], seed) >> np.uint64(1)
    order = np.argsort(np.where(kept, keys, np.uint64(2**64 - 1)), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")  # of each place, by its key
    return kept & (rank < k)


def plain_int(count: Any) -> Any:
    """A count as an int; of a device it stays there, so that no slice waits for it."""
    return int(count) if isinstance(count, (int, np.integer)) else count
