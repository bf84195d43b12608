"""Which of the candidates that passed the filters are returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hashneg import checks
from hashneg.backends.request import NO_INDEX
from hashneg.codes import Codes
from hashneg.mining.filters import draw
from hashneg.weights import STRATEGIES as WEIGHTED
from hashneg.weights import code_representativeness
from hashneg.weights.draw import mark
from hashneg.weights.strategies import Weighing

STRATEGIES = ("top", "random", *WEIGHTED)


class Strategy:
    """The first k, or k drawn without replacement by (seed, anchor row): each alike, or in proportion to a weight.

    Parameters
    ----------
    name : one of STRATEGIES
    options : mapping or None
        Of the weight, see `Weighing`.
    seed, n_corpus : int
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None, seed: int, n_corpus: int) -> None:
        self.name = checks.choice(name, "strategy", STRATEGIES)
        self._seed = seed
        self._weighing = Weighing(name, options, n_corpus) if name in WEIGHTED else None
        if options and self._weighing is None:
            raise ValueError(f"strategy_options go with {', '.join(WEIGHTED)}; strategy is {name!r}")

    def prepare(self, corpus: Codes) -> None:
        """Compute what the weights need to know of the whole corpus."""
        if self.name == "unremix" and self._weighing is not None:
            self._weighing.of_rows.setdefault("representativeness", np.asarray(code_representativeness(corpus.host)))

    def drawn(self, scores: np.ndarray, ids: np.ndarray, k: int, rows: np.ndarray) -> np.ndarray:
        """Mark at most k candidates of every anchor, bool (m, p), for strategies other than "top".

        Parameters
        ----------
        scores, ids : float32 and int64 (m, p), hardest first, NaN and -1 where there is no candidate
        rows : int64 (m,), numbers of the anchors
        """
        if self._weighing is None:
            return draw(ids != NO_INDEX, k, self._seed, rows)
        infinite = np.isinf(scores).any(axis=1)
        if infinite.any():
            anchor = int(rows[np.argmax(infinite)])
            raise ValueError(f"scores must be finite for strategy={self.name!r}; one of anchor {anchor} is infinite")
        return mark(self._weighing.log_weights(scores, ids), k, self._seed, rows)
