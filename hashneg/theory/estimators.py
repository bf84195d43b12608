"""The cosine of two embeddings, estimated from the Hamming distance of their codes."""

from __future__ import annotations

import math
from typing import Any

from hashneg.theory import values
from hashneg.theory.collision import hamming_variance


def cosine_estimate(distance: Any, n_bits: int, dim: int, rotation: str = "orthogonal") -> tuple[Any, Any]:
    """The cosine of two (centered) vectors from the Hamming distance of their codes, and its standard error.

    cos(pi H / n_bits) is biased towards 0, since the cosine is curved: its mean is about
    cos(angle) (1 - pi^2 Var H / (2 n_bits^2)). The estimate divides by this factor, with Var H at the estimated
    angle, which leaves a bias of order 1 / n_bits^2. It may exceed 1 by as much.

    Parameters
    ----------
    distance : int or array
        H, 0 to n_bits.
    n_bits, dim : int
        As in `hamming_variance`.
    rotation : {"orthogonal", "gaussian", "hadamard"}

    Returns
    -------
    cosine, standard_error : float or array
        Of the kind of `distance`. The standard error is pi sin(angle) sqrt(Var H) / n_bits at the estimated angle;
        it is 0 at H = 0 and H = n_bits, where `angle_interval` says more.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> from hashneg import theory
    >>> cosine, error = theory.cosine_estimate(170, 512, dim=256)
    >>> round(cosine, 3), round(error, 3)
    (0.504, 0.046)
    """
    xp, (h,), export = values.take(distance=distance)
    values.check_range(h, "distance", 0, n_bits)
    theta = math.pi * h / n_bits
    variance = (math.pi / n_bits) ** 2 * hamming_variance(theta, n_bits, dim, rotation)
    cosine = xp.cos(theta) / (1 - variance / 2)
    return export(cosine), export(xp.sin(theta) * xp.sqrt(variance))


def cosine_variance(angle: Any, n_bits: int, dim: int, rotation: str = "orthogonal") -> Any:
    """The variance of the cosine estimated from a Hamming distance, to first order.

    (pi sin(angle) / n_bits)^2 Var H, by the delta method.

    Parameters
    ----------
    angle, n_bits, dim, rotation
        As in `hamming_variance`.

    Returns
    -------
    float or array
        Of the kind of `angle`.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> round(1024 * theory.cosine_variance(math.pi / 2, 1024, 1024, rotation="gaussian"), 3)
    2.467
    """
    xp, (theta,), export = values.take(angle=angle)
    return export((math.pi * xp.sin(theta) / n_bits) ** 2 * hamming_variance(theta, n_bits, dim, rotation))
