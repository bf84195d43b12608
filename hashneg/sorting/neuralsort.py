"""NeuralSort: a rank's row is a softmax that the item of that rank always wins."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.namespaces import numerics
from hashneg.sorting.order import checked, descending, hardened


def neuralsort(scores: Any, temperature: Any = 1.0, *, m: int | None = None, hard: bool = False) -> Any:
    """The NeuralSort relaxation of the permutation matrix that sorts scores in descending order.

    Row i, counted from 1, is ``softmax(((n + 1 - 2 i) s - A 1) / temperature)`` with
    ``A_jk = |s_j - s_k|``. A is not built: its row sums come from sums over the sorted scores.

    Parameters
    ----------
    scores : array, float (..., n)
    temperature : float or 0-d array
        Above 0.
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
    Grover, Wang, Zweig & Ermon, *Stochastic optimization of sorting networks via continuous relaxations*,
    ICLR 2019, equation 5.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.sorting.neuralsort(np.array([0.1, 0.9, 0.5]), 0.2, m=2).round(3)
    array([[0.   , 0.881, 0.119],
           [0.107, 0.107, 0.787]])
    """
    xp, s, temperature, m = checked(scores, temperature, m)
    n = int(s.shape[-1])
    s = s - namespaces.stop_gradient(xp.mean(s, axis=-1, keepdims=True))  # changes no row, and keeps the sums small
    order = descending(s)
    slope = xp.astype(n - 1 - 2 * namespaces.arange(m, s), s.dtype)
    soft = numerics.softmax((slope[:, None] * s[..., None, :] - _gaps(s, order)[..., None, :]) / temperature)
    return hardened(soft, order[..., :m]) if hard else soft


def _gaps(s: Any, order: Any) -> Any:
    """sum_k |s_j - s_k| of every item j, in O(n log n); equal scores are left out, as the slope of |0| is 0."""
    xp, n = namespaces.of(s), int(s.shape[-1])
    v = xp.take_along_axis(s, order, axis=-1)
    first, last = _runs(v)
    before = namespaces.cumulative_sum(v) - v
    above = xp.take_along_axis(before, first, axis=-1)
    below = xp.sum(v, axis=-1, keepdims=True) - xp.take_along_axis(before + v, last, axis=-1)
    slope = xp.astype(n - 1 - last - first, s.dtype)
    back = xp.argsort(order, axis=-1, descending=False, stable=True)
    return xp.take_along_axis(above - below + slope * v, back, axis=-1)


def _runs(v: Any) -> tuple[Any, Any]:
    """First and last position of the run of equal values that each position of the sorted `v` is in."""
    xp, n = namespaces.of(v), int(v.shape[-1])
    places = namespaces.arange(n, v)
    change = v[..., 1:] != v[..., :-1]
    edge = xp.ones_like(v[..., :1]) > 0
    zero = xp.zeros_like(places)
    first = xp.where(xp.concat([edge, change], axis=-1), places, zero)
    last = xp.where(xp.concat([change, edge], axis=-1), places, zero + (n - 1))
    step = 1
    while step < n:  # running maximum from the left, running minimum from the right
        first = xp.concat([first[..., :step], xp.maximum(first[..., step:], first[..., :-step])], axis=-1)
        last = xp.concat([xp.minimum(last[..., :-step], last[..., step:]), last[..., -step:]], axis=-1)
        step *= 2
    return first, last
