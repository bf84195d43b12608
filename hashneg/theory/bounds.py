"""What a Hamming distance says about the angle, with a stated confidence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hashneg import checks
from hashneg.theory import values


def hoeffding_bound(deviation: Any, n_bits: int) -> Any:
    """A bound on ``P(|H / n_bits - angle / pi| >= deviation)``: ``2 exp(-2 n_bits deviation^2)``.

    It holds for independent rows ("gaussian"), at every angle.

    Parameters
    ----------
    deviation : float or array
        Of the share of differing bits, at least 0.
    n_bits : int

    Returns
    -------
    float or array
        At most 1; of the kind of `deviation`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or negative.

    References
    ----------
    Hoeffding, J. Amer. Statist. Assoc. 58, 1963, theorem 1.

    Examples
    --------
    >>> from hashneg import theory
    >>> round(theory.hoeffding_bound(0.1, 512), 6)
    7.1e-05
    """
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    xp, (e,), export = values.take(deviation=deviation)
    values.check_range(e, "deviation", 0.0, math.inf)
    bound = 2 * xp.exp(-2 * n_bits * e**2)
    return export(xp.minimum(bound, 0 * bound + 1))


def chernoff_bound(share: Any, angle: Any, n_bits: int) -> Any:
    """A bound on the tail beyond a share q of differing bits: ``exp(-n_bits KL(q || p))``, p = angle / pi.

    For q below p it bounds P(H <= n_bits q), for q above p it bounds P(H >= n_bits q). It holds for independent
    rows ("gaussian"), and is never weaker than Hoeffding's one-sided bound.

    Parameters
    ----------
    share : float or array
        q = H / n_bits, 0 to 1.
    angle : float or array
        Radians; broadcast with `share`.
    n_bits : int

    Returns
    -------
    float or array
        Of the kind of the arguments.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    References
    ----------
    Chernoff, Ann. Math. Statist. 23, 1952; Hoeffding 1963, equation 2.1.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> round(theory.chernoff_bound(0.0, math.pi / 2, 10) * 2**10, 6)  # exact: all ten bits agree
    1.0
    """
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    xp, (q, theta), export = values.take(share=share, angle=angle)
    values.check_range(q, "share", 0.0, 1.0)
    values.check_angle(theta)
    p = theta / math.pi
    divergence = _relative(xp, q, p) + _relative(xp, 1 - q, 1 - p)
    return export(xp.exp(-n_bits * divergence))


def angle_interval(distance: Any, n_bits: int, confidence: float = 0.95) -> tuple[Any, Any]:
    """The interval of angles that a Hamming distance is compatible with: Clopper and Pearson's, times pi.

    Under independent rows H is binomial, and the interval covers the angle with at least this probability, whatever
    the angle. Orthonormal rows have the same mean and less variance; that the interval covers there too is not proven,
    but follows wherever H is close to normal, and is measured in the tests.

    Parameters
    ----------
    distance : int or array
        H, 0 to n_bits.
    n_bits : int
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    low, high : float or array
        Radians, of the kind of `distance`, float64 (float32 for float32 distances); computed by SciPy, so not
        differentiable.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    References
    ----------
    Clopper & Pearson, Biometrika 26, 1934.

    Examples
    --------
    >>> from hashneg import theory
    >>> low, high = theory.angle_interval(128, 512, confidence=0.99)
    >>> round(low, 3), round(high, 3)
    (0.635, 0.95)
    """
    from scipy.special import betaincinv

    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    confidence = checks.real(confidence, "confidence")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}")
    (h,), export = values.take_numpy(distance=distance)
    values.check_range(h, "distance", 0, n_bits)
    tail = (1 - confidence) / 2
    # The ends 0 and n_bits have no beta distribution of their own; any positive number stands in there.
    low = np.where(h > 0, betaincinv(np.maximum(h, 0.5), n_bits - h + 1, tail), 0.0)
    high = np.where(h < n_bits, betaincinv(h + 1, np.maximum(n_bits - h, 0.5), 1 - tail), 1.0)
    return export(math.pi * low), export(math.pi * high)


def _relative(xp: Any, q: Any, p: Any) -> Any:
    """q log(q / p), which is 0 where q is 0."""
    tiny = 1e-300 if xp.finfo(q.dtype).bits == 64 else 1e-37
    floor = 0 * (q + p) + tiny
    return q * (xp.log(xp.maximum(q, floor)) - xp.log(xp.maximum(p, floor)))
