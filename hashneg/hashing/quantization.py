"""Terms that shape hash activations: near to +-1, and every bit balanced."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe


def quantization(activations: Any) -> Any:
    """Mean squared distance of activations to their signs, which are constants to differentiation.

    Parameters
    ----------
    activations : array, float (n, n_bits)

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError
        If `activations` are no floats.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> float(hn.hashing.quantization(np.array([[1.0, -0.5]])))
    0.125
    """
    xp, h = namespaces.floats("activations", activations)
    one = xp.ones_like(h)
    gap = h - xp.where(h >= 0, one, -one)
    return xp.mean(gap * gap)


def bit_balance(activations: Any) -> Any:
    """Mean over the bits of the squared mean over the batch: 0 where every bit is balanced.

    Parameters
    ----------
    activations : array, float (n, n_bits)

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If `activations` is no float matrix.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> float(hn.hashing.bit_balance(np.array([[1.0, 1.0], [-1.0, 1.0]])))
    0.5
    """
    xp, h = namespaces.floats("activations", activations)
    if len(h.shape) != 2:
        raise ValueError(f"activations must have shape (n, n_bits), got {describe(activations)}")
    mean = xp.mean(h, axis=0)
    return xp.mean(mean * mean)
