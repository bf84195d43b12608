"""Which of the candidates that passed the filters are returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hashneg.backends.request import NO_INDEX
from hashneg.codes import Codes
from hashneg.mining.filters import draw
from hashneg.weights import code_representativeness
from hashneg.weights.draw import mark
from hashneg.weights.strategies import check_finite, weighing


class Strategy:
    """The first k, or k drawn without replacement by (seed, anchor row): each alike, or in proportion to a weight.

    Parameters
    ----------
    name : one of EVERY_STRATEGY
    options : mapping or None
        Of the weight, see `Weighing`.
    seed, n_corpus : int
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None, seed: int, n_corpus: int) -> None:
        self._weighing = weighing(name, options, n_corpus)
        self.name, self._seed = name, seed

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
        check_finite(scores, self.name, rows)
        return mark(self._weighing.log_weights(scores, ids), k, self._seed, rows)
