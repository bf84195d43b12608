"""Sign-full estimators: the cosine from a float query and the signs of the other vector."""

from __future__ import annotations

import math
from typing import Any

from hashneg import checks
from hashneg.theory import values

ESTIMATORS = ("s", "g")


def sign_full_cosine(signs: Any, projected: Any, estimator: str = "s") -> Any:
    """The cosine of x and q from the signs of x and the full projections of q.

    "g" is sqrt(pi / 2) times the mean of sign(x_i) q_i. "s" is 1 - sqrt(2 pi) times the mean of ``|q_i|`` over the
    bits whose signs disagree (counting 0 for the others). Both are unbiased for independent rows; "s" has the lower
    variance for cosines above about 0.29, and its variance goes to 0 as x and q become equal.

    Parameters
    ----------
    signs : array (..., n_bits)
        +1 and -1 of x, as `Codes.to_signs` gives them; any number >= 0 counts as +1.
    projected : array, float (..., n_bits)
        The query on rows of independent standard normal entries, the query having length 1. The rows of
        ``rotation="gaussian"`` have length 1 on average, so multiply what `BinaryQuantizer.project` gives by sqrt(d).
    estimator : "s" or "g"

    Returns
    -------
    array (...)
        Of the framework of the arguments, differentiable in `projected`.

    Raises
    ------
    TypeError, ValueError
        If the arguments are not arrays of one width, or `estimator` is another name.

    References
    ----------
    Li, *Sign-full random projections*, AAAI 2019 (arXiv 1805.00533).

    Examples
    --------
    >>> import numpy as np
    >>> from hashneg import theory
    >>> rows = np.random.default_rng(0).standard_normal((100_000, 2))
    >>> x, q = np.array([1.0, 0.0]), np.array([0.8, 0.6])
    >>> float(theory.sign_full_cosine(np.sign(rows @ x), rows @ q).round(2))
    0.8
    """
    checks.choice(estimator, "estimator", ESTIMATORS)
    xp, (x, q), export = values.take(signs=signs, projected=projected)
    if not x.ndim or not q.ndim or x.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"signs and projected must have one number for each bit, got shapes {tuple(x.shape)} and {tuple(q.shape)}"
        )
    positive = x >= 0
    if estimator == "g":
        return export(math.sqrt(math.pi / 2) * xp.mean(xp.where(positive, q, -q), axis=-1))
    disagreeing = xp.where(positive == (q >= 0), 0 * q, xp.abs(q))
    return export(1 - math.sqrt(2 * math.pi) * xp.mean(disagreeing, axis=-1))


def sign_full_variance(angle: Any, n_bits: int, estimator: str = "s") -> Any:
    """The variance of `sign_full_cosine` for independent rows.

    "g": (pi / 2 - rho^2) / n_bits. "s": (2 (angle - rho sin(angle)) - (1 - rho)^2) / n_bits, rho = cos(angle).

    Parameters
    ----------
    angle : float or array
        Radians.
    n_bits : int
    estimator : "s" or "g"

    Returns
    -------
    float or array
        Of the kind of `angle`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    References
    ----------
    Li, AAAI 2019, theorems on the estimators g and s.

    Examples
    --------
    >>> from hashneg import theory
    >>> round(theory.sign_full_variance(1.0, 1), 3), round(theory.sign_full_variance(1.0, 1, "g"), 3)
    (0.879, 1.279)
    """
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    checks.choice(estimator, "estimator", ESTIMATORS)
    xp, (theta,), export = values.take(angle=angle)
    values.check_angle(theta)
    rho = xp.cos(theta)
    if estimator == "g":
        return export((math.pi / 2 - rho**2) / n_bits)
    return export((2 * (theta - rho * xp.sin(theta)) - (1 - rho) ** 2) / n_bits)
