"""In which order the neighbours of an anchor are tried: the hardest first, or drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hashneg import arrays
from hashneg.backends.request import NO_INDEX
from hashneg.weights.draw import order
from hashneg.weights.strategies import weighing

_DRAWN = 1 << 20  # neighbours whose turn is drawn at a time


class Preference:
    """A strategy of `HardBatchSampler`, for the neighbours of n ids.

    Parameters
    ----------
    strategy : one of EVERY_STRATEGY
    options : mapping or None
        Of the weight, see `hashneg.weights.strategies.Weighing`.
    n : int
    """

    def __init__(self, strategy: str, options: Mapping[str, Any] | None, n: int) -> None:
        self._weighing = weighing(strategy, options, n)
        self.strategy = strategy

    @property
    def needs_scores(self) -> bool:
        return self._weighing is not None

    def scores(self, given: Any, neighbours: np.ndarray) -> np.ndarray | None:
        """The scores of the neighbours, float32 (n, k), checked; None where the strategy does not ask for them."""
        if not self.needs_scores:
            return None
        if given is None and not (neighbours != NO_INDEX).any():  # batches are random until neighbours are mined
            return np.zeros(neighbours.shape, np.float32)
        if given is None:
            raise ValueError(
                f"scores is missing: strategy={self.strategy!r} weighs neighbours by their scores. Pass scores, or "
                "what mine_hard_negatives returns, or call renew(table, k)"
            )
        scores = arrays.to_numpy(given, "scores")
        if scores.shape != neighbours.shape or scores.dtype.kind not in "fiu":
            raise ValueError(f"scores must be numbers of shape {neighbours.shape}, got {arrays.describe(given)}")
        wrong = ~np.isfinite(scores) & (neighbours != NO_INDEX)
        if wrong.any():
            raise ValueError(
                f"scores must be finite where there is a neighbour; row {int(np.nonzero(wrong)[0][0])} is not"
            )
        return scores.astype(np.float32)

    def ordered(self, neighbours: np.ndarray, scores: np.ndarray | None, seed: int) -> np.ndarray:
        """The neighbours of each id in the order in which they are tried, padding last; int64 (n, k)."""
        if self.strategy == "top" or not neighbours.size:
            return neighbours
        ordered = np.empty_like(neighbours)
        step = max(1, _DRAWN // neighbours.shape[1])
        for start in range(0, len(neighbours), step):
            part = slice(start, start + step)
            ids = neighbours[part]
            if self._weighing is None or scores is None:
                logs = np.where(ids != NO_INDEX, 0.0, -np.inf)
            else:
                logs = self._weighing.log_weights(scores[part], ids)
            turn = order(logs, seed, np.arange(start, start + len(ids)))
            ordered[part] = np.take_along_axis(ids, turn, axis=1)
        return ordered
