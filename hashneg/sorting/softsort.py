"""SoftSort: each rank takes the items whose score is near that rank's score."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.namespaces import numerics
from hashneg.sorting.order import checked, descending, hardened


def softsort(
    scores: Any, temperature: Any = 1.0, *, power: float = 1.0, m: int | None = None, hard: bool = False
) -> Any:
    """The SoftSort relaxation of the permutation matrix that sorts scores in descending order.

    Row i is ``softmax(-|sorted(scores)[i] - scores|^power / temperature)``.

    Parameters
    ----------
    scores : array, float (..., n)
    temperature : float or 0-d array
        Above 0. Towards 0 a row becomes the one-hot row of the item of that rank, or is shared evenly between
        items of equal score.
    power : float
        At least 1.
    m : int, optional
        Build only the rows of the first m ranks: memory n m for a list instead of n^2.
    hard : bool
        Return the exact permutation, ordered by (-score, index), with the gradient of the soft matrix
        (straight-through).

    Returns
    -------
    array, float (..., m, n)
        Rows sum to 1. float64 for float64 scores, else float32; of the framework of `scores`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Prillo & Eisenschlos, *SoftSort*, ICML 2020, equation 3.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> scores = np.array([0.1, 0.9, 0.5])
    >>> p = hn.sorting.softsort(scores, 0.01)
    >>> (p @ scores).round(3)
    array([0.9, 0.5, 0.1])
    >>> p.argmax(axis=-1)
    array([1, 2, 0])
    """
    xp, s, temperature, m = checked(scores, temperature, m, whole=False)
    power = checks.real(power, "power", minimum=1.0)
    order = descending(s)[..., :m]
    e = unscaled_rows(s, order, temperature, power)
    soft = e / xp.sum(e, axis=-1, keepdims=True)
    return hardened(soft, order) if hard else soft


def unscaled_rows(s: Any, order: Any, temperature: Any, power: float = 1.0) -> Any:
    """The rows before they are scaled to a sum of 1: enough where only the direction of the mixtures matters.

    Each row holds a 1, for the item of that rank.
    """
    top = namespaces.of(s).take_along_axis(s, order, axis=-1)
    # scaled after subtracting: a fused multiply-add could make equal scores differ, and give them a gradient
    distance = numerics.absolute(top[..., None] - s[..., None, :])
    if power != 1:
        distance = distance**power
    return namespaces.of(s).exp(distance * (-1 / temperature))
