"""Take rows in a soft order."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe


def sorted_gather(permutation: Any, values: Any) -> Any:
    """The rows of `values` in the order of a (soft) permutation matrix: P @ values.

    Parameters
    ----------
    permutation : array, float (..., m, n)
        From `softsort`, `neuralsort` or `sorting_network`.
    values : array, float (n, d) or (..., n, d)

    Returns
    -------
    array, float (..., m, d)
        Row i is the mixture of the rows that may have rank i; with ``hard=True`` matrices, exactly the row of that
        rank. float64 if one of the arrays is, else float32.

    Raises
    ------
    TypeError, ValueError
        If the arrays are no floats of one framework, or n differs.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> latents = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> hn.sorting.sorted_gather(hn.sorting.softsort(np.array([1.0, 3.0, 2.0]), m=2, hard=True), latents)
    array([[0., 1.],
           [2., 2.]])
    """
    _, p, v = namespaces.floats("permutation", permutation, ("values", values))
    if len(p.shape) < 2 or len(v.shape) < 2 or p.shape[-1] != v.shape[-2]:
        raise ValueError(
            f"permutation (..., m, n) and values (..., n, d) must share n, "
            f"got {describe(permutation)} and {describe(values)}"
        )
    return namespaces.matmul(p, v)
