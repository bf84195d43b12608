"""Mined candidates drawn by weight: what the mining strategies and the batch sampler share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.backends.request import NO_INDEX
from hashneg.weights.draw import mark
from hashneg.weights.hcl import hcl
from hashneg.weights.soft_info_nce import soft_info_nce
from hashneg.weights.unremix import importance


def _unremix(scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], **options: Any) -> np.ndarray:
    return importance(scores, extra.get("uncertainty"), extra.get("representativeness"), mask=kept, **options)


def _hcl(scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], **options: Any) -> np.ndarray:
    return hcl(scores, mask=kept, **options)


def _soft(scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], **options: Any) -> np.ndarray:
    return soft_info_nce(scores, mask=kept, **({"alpha": 0.9} | options))


_OPTIONS = {
    "unremix": ("factors",),
    "hcl": ("temperature", "beta"),
    "soft_info_nce": ("alpha", "beta", "temperature", "floor"),
}
_WEIGHTS: dict[str, Callable[..., np.ndarray]] = {"unremix": _unremix, "hcl": _hcl, "soft_info_nce": _soft}
STRATEGIES = tuple(_WEIGHTS)
_LEAST = 1e-300  # so that candidates of no weight are drawn when, and only when, no others are left


def choose(
    strategy: str,
    scores: np.ndarray,
    kept: np.ndarray,
    k: int,
    *,
    seed: int,
    rows: np.ndarray,
    uncertainty: np.ndarray | None = None,
    representativeness: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Mark k of the kept candidates of every anchor, drawn without replacement in proportion to a weight.

    All kept candidates are marked where there are fewer than k.

    Parameters
    ----------
    strategy : {"unremix", "hcl", "soft_info_nce"}
        Which function of `hashneg.weights` gives the weights; "unremix" is a reconstruction, see `unremix`.
    scores : float (m, p)
        Similarities of anchors and candidates, finite; NaN where there is no candidate.
    kept : bool (m, p)
        Which candidates may be drawn.
    k : int
    seed : int
    rows : int (m,)
        Numbers of the anchors: a draw depends on (seed, number, weights) alone.
    uncertainty, representativeness : float (m, p), optional
        Further scores for "unremix", for example `code_representativeness` of the corpus at the candidates.
    **options
        Of the weights: ``factors`` of `importance` for "unremix", ``temperature`` and ``beta`` of `hcl`, or ``alpha``
        (0.9 by default), ``beta``, ``temperature`` and ``floor`` of `soft_info_nce`.

    Returns
    -------
    bool (m, p)

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from hashneg.weights import choose
    >>> scores, kept = np.array([[0.9, 0.8, 0.1, np.nan]]), np.array([[True, True, True, False]])
    >>> choose("hcl", scores, kept, 2, seed=0, rows=np.array([7]), temperature=0.05)
    array([[ True,  True, False, False]])
    """
    weights = weigh(strategy, scores, kept, uncertainty=uncertainty, representativeness=representativeness, **options)
    return mark(weights, k, seed, rows)


def weigh(
    strategy: str,
    scores: np.ndarray,
    kept: np.ndarray,
    *,
    uncertainty: np.ndarray | None = None,
    representativeness: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """The weights that `choose` draws by, float64 (m, p): above 0 for kept candidates, 0 for the others."""
    weights_of = _WEIGHTS[checks.choice(strategy, "strategy", STRATEGIES)]
    if unknown := sorted(options.keys() - _OPTIONS[strategy]):
        raise TypeError(f"{strategy!r} has the options {', '.join(_OPTIONS[strategy])}, but got {', '.join(unknown)}")
    kept = kept & ~np.isnan(scores)
    if np.isinf(scores).any():
        row = int(np.argmax(np.isinf(scores).any(axis=1)))
        raise ValueError(f"scores must be finite for strategy={strategy!r}; row {row} holds infinity")
    extra = {"uncertainty": uncertainty, "representativeness": representativeness}
    filled = {name: None if x is None else np.where(kept, x, 0.0) for name, x in extra.items()}
    weights = weights_of(np.where(kept, scores, 0.0).astype(np.float64), kept, filled, **options)
    return np.where(kept, np.maximum(weights, _LEAST), 0.0)


class Weighing:
    """A strategy whose options are checked, for candidates that are rows of one corpus.

    Parameters
    ----------
    strategy : one of STRATEGIES
    options : mapping or None
        As in `choose`, but ``uncertainty`` and ``representativeness`` are one number for each corpus row.
    n : int
        Rows of the corpus.
    """

    def __init__(self, strategy: str, options: Mapping[str, Any] | None, n: int) -> None:
        self.strategy = checks.choice(strategy, "strategy", STRATEGIES)
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"strategy_options must be a mapping of names to values, got {arrays.describe(options)}")
        self._options = dict(options or {})
        self.of_rows: dict[str, np.ndarray] = {}
        for name in ("uncertainty", "representativeness"):
            if strategy == "unremix" and (given := self._options.pop(name, None)) is not None:
                self.of_rows[name] = _one_each(given, f"strategy_options[{name!r}]", n)
        weigh(strategy, np.zeros((1, 2)), np.ones((1, 2), bool), **self._options)  # a wrong option is told now

    def weights(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Above 0 where there is a candidate, float64 (m, p); `ids` (m, p) is padded with -1."""
        real = ids != NO_INDEX
        known = {name: np.zeros(ids.shape) for name in self.of_rows}
        for name, values in self.of_rows.items():
            known[name][real] = values[ids[real]]
        return weigh(self.strategy, scores, real, **known, **self._options)


def _one_each(given: Any, name: str, n: int) -> np.ndarray:
    values = arrays.to_numpy(given, name)
    if values.shape != (n,) or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be one finite float for each of the {n} rows, got {arrays.describe(given)}")
    return values
