"""Mined candidates drawn by weight: what the mining strategies and the batch sampler share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.backends.request import NO_INDEX
from hashneg.namespaces import numerics
from hashneg.weights.draw import logs_of, mark
from hashneg.weights.hcl import log_weights as log_weights_of_hcl
from hashneg.weights.soft_info_nce import soft_info_nce
from hashneg.weights.unremix import importance


def _unremix(scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], **options: Any) -> np.ndarray:
    return logs_of(importance(scores, extra.get("uncertainty"), extra.get("representativeness"), mask=kept, **options))


def _hcl(
    scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], temperature: Any = 0.5, beta: float = 1.0
) -> np.ndarray:
    temperature = numerics.positive_number(temperature, "temperature", scores)
    return log_weights_of_hcl(scores, temperature, beta, kept, None, 0.0)


def _soft(scores: np.ndarray, kept: np.ndarray, extra: dict[str, np.ndarray | None], **options: Any) -> np.ndarray:
    return logs_of(soft_info_nce(scores, mask=kept, **({"alpha": 0.9} | options)))


_OPTIONS = {
    "unremix": ("factors",),
    "hcl": ("temperature", "beta"),
    "soft_info_nce": ("alpha", "beta", "temperature", "floor"),
}
_PER_ROW = ("uncertainty", "representativeness")
_LOGS: dict[str, Callable[..., np.ndarray]] = {"unremix": _unremix, "hcl": _hcl, "soft_info_nce": _soft}
STRATEGIES = tuple(_LOGS)
_LEAST = -1e12  # so that candidates of no weight are drawn when, and only when, no others are left


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
    k = checks.integer(k, "k", minimum=1)
    seed = checks.integer(seed, "seed", minimum=0)
    if scores.ndim != 2 or kept.shape != scores.shape or rows.shape != scores.shape[:1]:
        raise ValueError(
            f"scores and kept must have one shape (m, p) and rows (m,), got {scores.shape}, {kept.shape}, {rows.shape}"
        )
    check_finite(scores, strategy, rows)
    logs = log_weights(
        strategy, scores, kept, uncertainty=uncertainty, representativeness=representativeness, **options
    )
    return mark(logs, k, seed, rows)


def log_weights(
    strategy: str,
    scores: np.ndarray,
    kept: np.ndarray,
    *,
    uncertainty: np.ndarray | None = None,
    representativeness: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Logarithms of the weights that `choose` draws by, float64 (m, p): -inf for candidates that are not kept."""
    logs_of_scores = _LOGS[checks.choice(strategy, "strategy", STRATEGIES)]
    _check_names(strategy, options)
    kept = kept & ~np.isnan(scores)
    extra = {"uncertainty": uncertainty, "representativeness": representativeness}
    for name, x in extra.items():
        if x is not None and x.shape != scores.shape:
            raise ValueError(f"{name} must have the shape {scores.shape} of scores, got {arrays.describe(x)}")
    filled = {name: None if x is None else np.where(kept, x, 0.0) for name, x in extra.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        logs = logs_of_scores(np.where(kept, scores, 0.0).astype(np.float64), kept, filled, **options)
    if np.isnan(logs[kept]).any():
        raise ValueError(f"the options of {strategy!r} give weights that are not numbers: {options}")
    return np.where(kept, np.where(np.isneginf(logs), _LEAST, logs), -np.inf)


#: Of mining and of the batch sampler: the first, some drawn alike, or some drawn by a weight.
EVERY_STRATEGY = ("top", "random", *STRATEGIES)


def weighing(strategy: str, options: Mapping[str, Any] | None, n: int) -> Weighing | None:
    """The weights of one of EVERY_STRATEGY, for candidates that are rows 0 to n - 1; None where it has none."""
    if checks.choice(strategy, "strategy", EVERY_STRATEGY) in STRATEGIES:
        return Weighing(strategy, options, n)
    if options:
        raise ValueError(f"strategy_options go with {', '.join(STRATEGIES)}; strategy is {strategy!r}")
    return None


def check_finite(scores: np.ndarray, strategy: str, rows: np.ndarray) -> None:
    """ValueError if a score is infinite; `rows` are the numbers of the anchors."""
    infinite = np.isinf(scores).any(axis=1)
    if infinite.any():
        anchor = int(rows[np.argmax(infinite)])
        raise ValueError(f"scores must be finite for strategy={strategy!r}; one of anchor {anchor} is infinite")


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
        _check_names(self.strategy, self._options, _PER_ROW if strategy == "unremix" else ())
        for name in _PER_ROW:
            if strategy == "unremix" and (given := self._options.pop(name, None)) is not None:
                self.of_rows[name] = _one_each(given, f"strategy_options[{name!r}]", n)
        factors = self._options.get("factors", (1.0, 1.0, 1.0))
        if not isinstance(factors, (tuple, list, np.ndarray)) or len(factors) != 3:
            raise TypeError(f"factors must be three numbers, got {factors!r}")
        if factors[1] and not (factors[0] or factors[2] or "uncertainty" in self.of_rows):
            raise ValueError(f"factors={factors!r} leave only uncertainty to weigh by, which was not given")
        ids = np.zeros((1, 1), np.int64) if n else np.full((1, 1), NO_INDEX)
        self.log_weights(np.zeros((1, 1)), ids)  # a wrong option is told now

    def log_weights(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Logarithms, -inf where there is no candidate, float64 (m, p); `ids` (m, p) is padded with -1."""
        real = ids != NO_INDEX
        known = {name: np.zeros(ids.shape) for name in self.of_rows}
        for name, values in self.of_rows.items():
            known[name][real] = values[ids[real]]
        return log_weights(self.strategy, scores, real, **known, **self._options)


def _check_names(strategy: str, options: Mapping[Any, Any], also: tuple[str, ...] = ()) -> None:
    known = (*_OPTIONS[strategy], *also)
    if unknown := sorted(map(str, options.keys() - set(known))):
        raise TypeError(f"{strategy!r} has the options {', '.join(known)}, but got {', '.join(unknown)}")


def _one_each(given: Any, name: str, n: int) -> np.ndarray:
    values = np.asarray(given) if isinstance(given, (list, tuple)) else arrays.to_numpy(given, name)
    if values.shape != (n,) or values.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be one number for each of the {n} rows, got {arrays.describe(given)}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; row {int(np.argmin(np.isfinite(values)))} is not")
    return values
