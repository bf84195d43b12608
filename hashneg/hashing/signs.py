"""Signs +-1 whose gradient is that of something smooth."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe
from hashneg.namespaces import numerics


def straight_through_sign(activations: Any, *, clip: bool = False) -> Any:
    """+1 where an activation is at least 0, else -1, with the gradient of the identity (straight-through).

    Parameters
    ----------
    activations : array, float (..., n_bits)
    clip : bool
        No gradient where an activation is beyond -1..1, which keeps activations from growing without end.

    Returns
    -------
    array, float (..., n_bits)
        float64 for float64 activations, else float32; of the framework of `activations`.

    Raises
    ------
    TypeError
        If `activations` are no floats.

    References
    ----------
    Bengio, Leonard & Courville, *Estimating or propagating gradients through stochastic neurons*, arXiv 1308.3432.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.hashing.straight_through_sign(np.array([-0.5, 0.0, 2.0]))
    array([-1.,  1.,  1.])
    """
    xp, h = namespaces.floats("activations", activations)
    soft = h
    if clip:
        soft = xp.where(xp.abs(h) <= 1, h, xp.sign(namespaces.stop_gradient(h)))
    return numerics.straight_through(_signs(h >= 0, h), soft)


def stochastic_sign(activations: Any, uniform: Any) -> Any:
    """+1 with probability 1/(1 + exp(-h)), else -1, with the gradient of the mean, tanh(h/2).

    Parameters
    ----------
    activations : array, float (..., n_bits)
        h.
    uniform : array, float (..., n_bits)
        Numbers in [0, 1), from the framework's own generator, so that a compiled step draws anew.

    Returns
    -------
    array, float (..., n_bits)

    Raises
    ------
    TypeError, ValueError
        If the arrays are no floats of one framework, or differ in shape.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.hashing.stochastic_sign(np.array([-2.0, 0.0, 2.0]), np.array([0.5, 0.5, 0.5]))
    array([-1., -1.,  1.])
    """
    xp, h, u = namespaces.floats("activations", activations, ("uniform", uniform))
    if len(u.shape) != len(h.shape) or u.shape[-1] != h.shape[-1]:
        raise ValueError(f"uniform must have the shape of activations, {tuple(h.shape)}, got {describe(uniform)}")
    mean = xp.tanh(h / 2)
    return numerics.straight_through(_signs(2 * u - 1 < mean, h), mean)


def half_sign(activations: Any) -> Any:
    """Bi-half signs: of every bit, +1 for the half of the batch with the larger activations, -1 for the rest.

    Each bit is then balanced exactly over the batch (for odd n the smaller half gets +1). Equal activations are
    ordered by row. The gradient is that of the identity.

    Parameters
    ----------
    activations : array, float (n, n_bits)

    Returns
    -------
    array, float (n, n_bits)

    Raises
    ------
    TypeError, ValueError
        If `activations` is no float matrix.

    Notes
    -----
    At search time a bit is compared with its median over the data, as by ``center="median"`` of `BinaryQuantizer`.

    References
    ----------
    Li & van Gemert, *Deep unsupervised image hashing by maximizing bit entropy*, AAAI 2021.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.hashing.half_sign(np.array([[5.0], [3.0], [4.0], [6.0]])).ravel()
    array([ 1., -1., -1.,  1.])
    """
    xp, h = namespaces.floats("activations", activations)
    if len(h.shape) != 2:
        raise ValueError(f"activations must have shape (n, n_bits), got {describe(activations)}")
    columns = namespaces.stop_gradient(xp.matrix_transpose(h))
    order = xp.argsort(columns, axis=-1, descending=True, stable=True)
    rank = xp.matrix_transpose(xp.argsort(order, axis=-1, descending=False, stable=True))
    return numerics.straight_through(_signs(rank < namespaces.length(h, 0) // 2, h), h)


def _signs(positive: Any, like: Any) -> Any:
    one = namespaces.of(like).ones_like(like)
    return namespaces.of(like).where(positive, one, -one)
