"""Positive-aware weights: 0 for candidates too near to the positive's score, 1 for the others."""

from __future__ import annotations

from typing import Any

from hashneg import checks
from hashneg.namespaces import numerics
from hashneg.weights.arguments import checked


def positive_aware(
    similarities: Any,
    positive: Any = None,
    *,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
    mask: Any = None,
) -> Any:
    """The filters of `mine_hard_negatives` as weights of 0 and 1.

    Kept is ``min_score <= s <= max_score``, ``s <= pos - absolute_margin`` and ``s <= pos - abs(pos)
    relative_margin``; a relative margin of 0.05 is the "95 % of the positive" of NV-Retriever.

    Parameters
    ----------
    similarities : array, float (..., c)
    positive : array, float (...), optional
        Score of the positive of each row; margins need it.
    absolute_margin, relative_margin, min_score, max_score : float, optional
    mask : array, bool (..., c), optional
        False where a column is no negative; its weight is 0.

    Returns
    -------
    array, float (..., c)
        0 or 1; a constant to differentiation.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Moreira et al., *NV-Retriever*, arXiv 2407.15831: positive-aware hard-negative mining.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.positive_aware(np.array([[0.8, 0.7, 0.2]]), np.array([0.8]), relative_margin=0.05)
    array([[0., 1., 1.]])
    """
    xp, s, mask, pos = checked(similarities, mask, positive)
    if pos is None and (absolute_margin is not None or relative_margin is not None):
        raise ValueError("a margin is a distance below the positive's score, so it needs positive")
    kept = xp.ones_like(s) > 0
    if min_score is not None:
        kept = kept & (s >= checks.real(min_score, "min_score"))
    if max_score is not None:
        kept = kept & (s <= checks.real(max_score, "max_score"))
    if absolute_margin is not None:
        kept = kept & (s <= (pos - checks.real(absolute_margin, "absolute_margin"))[..., None])
    if relative_margin is not None:
        margin = checks.real(relative_margin, "relative_margin", minimum=0.0)
        kept = kept & (s <= (pos - xp.abs(pos) * margin)[..., None])
    return numerics.masked(xp.astype(kept, s.dtype), mask, 0.0)
