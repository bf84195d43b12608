"""Soft-InfoNCE's weights: negatives that resemble the anchor count less, as they may be positives."""

from __future__ import annotations

from typing import Any

from hashneg import checks
from hashneg.namespaces import numerics
from hashneg.weights.arguments import checked


def soft_info_nce(
    similarities: Any,
    *,
    alpha: float,
    beta: float = 1.0,
    temperature: Any = 1.0,
    floor: float = 0.1,
    mask: Any = None,
) -> Any:
    """Weights ``max((beta - alpha p_j) / (beta - alpha / N), floor)``, p the softmax of a row's similarities.

    N is the number of negatives of the row. The opposite of `hcl`: what looks like a positive is weighted down.

    Parameters
    ----------
    similarities : array, float (..., c)
        How likely each candidate is a hidden positive, by a source of its own: BM25, another model, or the model at
        hand.
    alpha : float
        At least 0 and below beta; 0 gives equal weights, and with them InfoNCE.
    beta : float
    temperature : float or 0-d array
        Of the softmax, above 0.
    floor : float
        Least weight of a negative, at least 0.
    mask : array, bool (..., c), optional
        False where a column is no negative; its weight is 0.

    Returns
    -------
    array, float (..., c)
        With a mean of 1 over the negatives of a row, where the floor does not act.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Li, Zhou, Luu & Miao, *Rethinking negative pairs in code search*, EMNLP 2023, as in the authors' code.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.soft_info_nce(np.array([[2.0, 0.0, 0.0]]), alpha=0.9).round(2)
    array([[0.42, 1.29, 1.29]])
    """
    xp, s, mask, _ = checked(similarities, mask)
    alpha = checks.real(alpha, "alpha", minimum=0.0)
    beta, floor = checks.real(beta, "beta"), checks.real(floor, "floor", minimum=0.0)
    if beta <= alpha:
        raise ValueError(f"beta must be above alpha, got beta={beta} and alpha={alpha}")
    temperature = numerics.positive_number(temperature, "temperature", s)
    share = numerics.softmax(numerics.masked(s / temperature, mask))
    count = xp.sum(numerics.masked(xp.ones_like(s), mask, 0.0), axis=-1, keepdims=True)
    even = 1 / xp.maximum(count, xp.ones_like(count))
    w = (beta - alpha * share) / (beta - alpha * even)
    return numerics.masked(xp.where(w > floor, w, xp.full_like(w, floor)), mask, 0.0)
