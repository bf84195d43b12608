"""Draw negatives with given shares, without replacement, by a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import arrays, checks, namespaces
from hashneg.namespaces import numerics
from hashneg.randomness import mix64
from hashneg.weights.arguments import checked


def probabilities(weights: Any, *, mask: Any = None) -> Any:
    """Each row's weights scaled to a sum of 1.

    Parameters
    ----------
    weights : array, float (..., c)
        At least 0.
    mask : array, bool (..., c), optional
        False where a column must not be drawn.

    Returns
    -------
    array, float (..., c)
        Zeros in a row without any weight.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.probabilities(np.array([[1.0, 3.0], [0.0, 0.0]]))
    array([[0.25, 0.75],
           [0.  , 0.  ]])
    """
    xp, w, mask, _ = checked(weights, mask)
    w = numerics.masked(w, mask, 0.0)
    total = xp.sum(w, axis=-1, keepdims=True)
    return w / xp.where(total > 0, total, xp.ones_like(total))


def draw(weights: Any, k: int, *, seed: int = 0, rows: Any = None) -> Any:
    """Draw k columns of each row without replacement, each time in proportion to the weights that are left.

    Parameters
    ----------
    weights : array, float (n, c)
        At least 0, in any scale; a column of weight 0 is never drawn.
    k : int
    seed : int
        Same seed, same draw.
    rows : array, int (n,), optional
        The numbers by which the rows' draws are keyed, 0..n-1 by default: a row's draw depends on the seed, its number
        and its weights, not on the other rows of the call.

    Returns
    -------
    array, int64 (n, k)
        Columns in ascending order, padded with -1 where fewer than k have a weight.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; if a weight is negative, NaN or infinite.

    Notes
    -----
    Each column waits for an exponential time of rate w, and the first k to arrive are taken: the same law as drawing
    one after the other (Efraimidis & Spirakis, *Weighted random sampling with a reservoir*, 2006).

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.draw(np.array([[0.0, 5.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]]), 2, seed=1)
    array([[ 1,  2],
           [ 3, -1]])
    """
    k = checks.integer(k, "k", minimum=1)
    seed = checks.integer(seed, "seed", minimum=0)
    namespaces.floats("weights", weights)
    w = np.asarray(_wide(weights))
    if w.ndim != 2:
        raise ValueError(f"weights must have shape (n, c), got {arrays.describe(weights)}")
    if not (np.isfinite(w) & (w >= 0)).all():
        row = int(np.argmin((np.isfinite(w) & (w >= 0)).all(axis=1)))
        raise ValueError(f"weights must be finite and at least 0; row {row} is not")
    keys = np.arange(len(w)) if rows is None else arrays.integers(rows, "rows", (len(w),))
    drawn = mark(logs_of(w), k, seed, keys)
    place = np.where(drawn, np.arange(w.shape[1]), w.shape[1])
    place = np.sort(place, axis=1)[:, :k]
    found = np.full((len(w), k), -1, np.int64)
    found[:, : place.shape[1]] = np.where(place < w.shape[1], place, -1)
    return arrays.exporter(weights)(found)


def logs_of(weights: np.ndarray) -> np.ndarray:
    """Logarithms of weights, float64; -inf for 0."""
    return np.log(weights, out=np.full(weights.shape, -np.inf), where=weights > 0)


def mark(logs: np.ndarray, k: int, seed: int, rows: np.ndarray) -> np.ndarray:
    """Mark at most k columns of each row, bool (n, c), given logarithms of weights (n, c); -inf is never marked."""
    marked = np.zeros(logs.shape, bool)
    np.put_along_axis(marked, order(logs, seed, rows)[:, :k], True, axis=1)
    return marked & (logs > -np.inf)


def order(logs: np.ndarray, seed: int, rows: np.ndarray) -> np.ndarray:
    """All columns of each row in the order in which they are drawn, int64 (n, c); those of logarithm -inf come last.

    By the logarithm of the exponential waits: weights may differ by more than a float holds.
    """
    places = np.arange(1, logs.shape[1] + 1, dtype=np.uint64)
    bits = mix64(places ^ mix64(rows, seed)[:, None], seed) >> np.uint64(11)
    waits = np.log(-np.log((bits.astype(np.float64) + 0.5) * 2.0**-53)) - logs
    return np.argsort(waits, axis=1, kind="stable")


def _wide(weights: Any) -> np.ndarray:
    """The weights as float64."""
    values = arrays.to_numpy(weights, "weights")
    if arrays.is_bfloat16(weights):  # the upper half of a float32
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float64)
