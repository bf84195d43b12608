"""Hamming similarity of +-1 codes as a matrix product, which has a gradient."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe


def hamming_similarity(codes: Any, others: Any) -> Any:
    """1 - Hamming distance / n_bits of all pairs of +-1 codes: ``codes @ others.T / (2 n_bits) + 1/2``.

    Parameters
    ----------
    codes : array, float (n, n_bits)
        +-1, for example from `straight_through_sign`; soft values in -1..1 give a soft similarity.
    others : array, float (m, n_bits)

    Returns
    -------
    array, float (n, m)
        In 0..1.

    Raises
    ------
    TypeError, ValueError
        If the arrays are no float matrices of one framework with equal n_bits.

    References
    ----------
    Yu et al., *Learning to hash naturally sorts*, IJCAI 2022, arXiv 2201.13322.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, 1.0]])
    >>> hn.hashing.hamming_similarity(codes, codes)
    array([[1.  , 0.75],
           [0.75, 1.  ]])
    """
    xp, a, b = namespaces.floats("codes", codes, ("others", others))
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"codes (n, n_bits) and others (m, n_bits) must share n_bits, got {describe(codes)} and {describe(others)}"
        )
    return namespaces.matmul(a, xp.matrix_transpose(b)) / (2 * int(a.shape[1])) + 0.5
