"""Mined candidates drawn by weight: what a mining strategy or a batch sampler calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hashneg import checks
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


_WEIGHTS: dict[str, Callable[..., np.ndarray]] = {"unremix": _unremix, "hcl": _hcl, "soft_info_nce": _soft}
STRATEGIES = tuple(_WEIGHTS)


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
    """Mark at most k of the kept candidates of every anchor, drawn without replacement in proportion to a weight.

    Parameters
    ----------
    strategy : {"unremix", "hcl", "soft_info_nce"}
        Which function of `hashneg.weights` gives the weights; "unremix" is a reconstruction, see `unremix`.
    scores : float (m, p)
        Similarities of anchors and candidates; NaN where there is no candidate.
    kept : bool (m, p)
        Which candidates may be drawn.
    k : int
    seed : int
    rows : int (m,)
        Numbers of the anchors: a draw depends on (seed, number, weights) alone.
    uncertainty, representativeness : float (m, p), optional
        Further scores for "unremix", for example `code_representativeness` of the corpus at the candidates.
    **options
        Of the weights: ``factors``, or ``temperature`` and ``beta``, or ``alpha``.

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
    weigh = _WEIGHTS[checks.choice(strategy, "strategy", STRATEGIES)]
    kept = kept & ~np.isnan(scores)
    extra = {"uncertainty": uncertainty, "representativeness": representativeness}
    filled = {name: None if x is None else np.where(kept, x, 0.0) for name, x in extra.items()}
    weights = weigh(np.where(kept, scores, 0.0), kept, filled, **options)
    return mark(np.where(kept, weights, 0.0).astype(np.float64), k, seed, rows) & kept
