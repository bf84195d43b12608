"""How often a bit of two codes agrees, and how the Hamming distance is distributed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hashneg import checks
from hashneg.theory import orthonormal, values


def collision_probability(angle: Any) -> Any:
    """The probability that one bit of two codes agrees, ``1 - angle / pi``.

    A hyperplane through the origin whose normal points in a uniformly random direction separates two vectors
    with probability angle / pi. This holds for every row of the rotations "orthogonal" and "gaussian", and nearly
    so for "hadamard". With ``center="mean"`` the angle is that between the centered vectors x - mean.

    Parameters
    ----------
    angle : float or array
        Radians, 0 to pi.

    Returns
    -------
    float or array
        Of the kind, shape and dtype of `angle`.

    Raises
    ------
    TypeError, ValueError
        If `angle` is no number or array, or holds values outside 0 to pi.

    References
    ----------
    Goemans & Williamson, J. ACM 42, 1995, lemma 3.2; Charikar, STOC 2002, section 3.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> theory.collision_probability(math.pi / 4)
    0.75
    """
    _, (theta,), export = values.take(angle=angle)
    values.check_angle(theta)
    return export(1 - theta / math.pi)


def angle(probability: Any) -> Any:
    """The angle at which a bit agrees with this probability, ``pi (1 - probability)``.

    The inverse of `collision_probability`. With ``probability = 1 - H / n_bits`` it is the maximum-likelihood
    estimate of the angle, and unbiased.

    Parameters
    ----------
    probability : float or array
        0 to 1.

    Returns
    -------
    float or array
        Radians, of the kind, shape and dtype of `probability`.

    Raises
    ------
    TypeError, ValueError
        If `probability` is no number or array, or holds values outside 0 to 1.

    Examples
    --------
    >>> from hashneg import theory
    >>> round(theory.angle(0.75), 4)
    0.7854
    """
    _, (p,), export = values.take(probability=probability)
    values.check_range(p, "probability", 0.0, 1.0)
    return export(math.pi * (1 - p))


def hamming_variance(angle: Any, n_bits: int, dim: int, rotation: str = "orthogonal") -> Any:
    """The variance of the Hamming distance of two codes over random rotations.

    With p = angle / pi, independent rows give the binomial variance n_bits p (1 - p). Two bits of orthonormal rows
    are negatively correlated, by `orthonormal.covariance`, so a block of m rows has variance
    m p (1 - p) + m (m - 1) covariance. Blocks are independent of each other. For large d the covariance is
    -sin(angle)^2 / (pi^2 d).

    Parameters
    ----------
    angle : float or array
        Radians, between the (centered) vectors.
    n_bits : int
    dim : int
        Dimensions d of the embeddings.
    rotation : {"orthogonal", "gaussian", "hadamard"}
        As in `BinaryQuantizer`. For "hadamard" the law of "orthogonal" in the padded dimensions is given, which
        its three rounds of signs approach.

    Returns
    -------
    float or array
        Variance of the count H, of the kind and shape of `angle`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above; "itq" and "identity" are not drawn at random and have no such law.

    Notes
    -----
    The formula for orthonormal rows is exact for every d. The first to point out that it is below the binomial one
    were Ji et al., NIPS 2012 (Super-Bit LSH), theorem 2, for angles up to pi / 2; see the page on theory for the
    derivation of the covariance.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> theory.hamming_variance(math.pi / 2, 256, 256, rotation="gaussian")
    64.0
    >>> round(theory.hamming_variance(math.pi / 2, 256, 256), 1)
    38.0
    """
    sizes, width = values.blocks(n_bits, dim, rotation)
    xp, (theta,), export = values.take(angle=angle)
    values.check_angle(theta)
    p = theta / math.pi
    pairs = sum(size * (size - 1) for size in sizes)
    variance = n_bits * p * (1 - p)
    if pairs:
        variance = variance + pairs * orthonormal.covariance(xp, theta, width)
    return export(xp.abs(variance))  # rounding makes it a hair negative where angle is pi


def hamming_probability(distance: Any, angle: Any, n_bits: int) -> Any:
    """The probability of a Hamming distance under independent rows: Binomial(n_bits, angle / pi).

    Parameters
    ----------
    distance : int or array
        H, 0 to n_bits.
    angle : float or array
        Radians; broadcast with `distance`.
    n_bits : int

    Returns
    -------
    float or array
        float64 (float32 where an argument is); computed by SciPy, so not differentiable.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Notes
    -----
    For orthonormal rows the mean is the same and the variance is that of `hamming_variance`; the law is not binomial.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> round(theory.hamming_probability(1, math.pi / 2, 2), 9)
    0.5
    """
    from scipy.special import gammaln, xlog1py, xlogy

    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    (h, theta), export = values.take_numpy(distance=distance, angle=angle)
    values.check_range(h, "distance", 0, n_bits)
    values.check_angle(theta)
    p = np.clip(theta / math.pi, 0, 1)
    ways = gammaln(n_bits + 1) - gammaln(h + 1) - gammaln(n_bits - h + 1)
    return export(np.exp(ways + xlogy(h, p) + xlog1py(n_bits - h, -p)))
