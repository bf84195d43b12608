"""Three vectors: how often a farther item comes out nearer by Hamming distance than a nearer one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hashneg import checks
from hashneg.theory import values

_SLACK = 1e-3  # arc cosines of float32 rows are no better


def overtaking_steps(near: Any, far: Any, between: Any) -> tuple[Any, Any]:
    """For one bit: the probabilities that only the far item differs from the query, and that only the near one does.

    A hyperplane separates an odd or even number of the sides of a triangle, so with the angles near and far of two
    items from the query, and the angle between the items,
    P(only far differs) = (far + between - near) / (2 pi), P(only near differs) = (near + between - far) / (2 pi).

    Parameters
    ----------
    near, far, between : float or array
        Radians; they must obey the triangle inequality, and are broadcast.

    Returns
    -------
    far_only, near_only : float or array
        The difference H_far - H_near goes up by 1 with the first probability at each bit, and down with the second.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number or array, is out of range, or the angles belong to no three vectors.

    Examples
    --------
    >>> from hashneg import theory
    >>> up, down = theory.overtaking_steps(0.5, 0.7, 0.6)
    >>> round(up, 4), round(down, 4)  # their difference is 0.2 / pi
    (0.1273, 0.0637)
    """
    _, angles, export = values.take(near=near, far=far, between=between)
    up, down = _steps(*angles)
    return export(up), export(down)


def overtaking_bound(near: Any, far: Any, between: Any, n_bits: int) -> Any:
    """A bound on P(H_far <= H_near): ``(1 - (sqrt(far_only) - sqrt(near_only))^2)^n_bits``.

    Ties count as overtaken. It holds for independent rows ("gaussian") where far >= near; where the nearer item is not
    nearer it is 1.

    Parameters
    ----------
    near, far, between : float or array
        As in `overtaking_steps`.
    n_bits : int

    Returns
    -------
    float or array
        Of the kind of the arguments; at most exp(-n_bits ((far - near) / pi)^2 / 2).

    Raises
    ------
    TypeError, ValueError
        As `overtaking_steps`.

    References
    ----------
    Chernoff, Ann. Math. Statist. 23, 1952, for steps of +1, -1 and 0.

    Examples
    --------
    >>> from hashneg import theory
    >>> round(theory.overtaking_bound(0.5, 1.0, 1.0, n_bits=128), 3)
    0.004
    """
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    xp, (near, far, between), export = values.take(near=near, far=far, between=between)
    up, down = _steps(near, far, between)
    bound = (1 - (xp.sqrt(up) - xp.sqrt(down)) ** 2) ** n_bits
    return export(xp.where(up >= down, bound, 0 * bound + 1))


def overtaking_probability(
    near: Any, far: Any, between: Any, n_bits: int, dim: int, rotation: str = "orthogonal"
) -> Any:
    """Close to P(H_far < H_near) + P(H_far = H_near) / 2, by the normal law; no bound.

    H_far - H_near has mean n_bits (far - near) / pi; its variance is `difference_variance`.

    Parameters
    ----------
    near, far, between : float or array
        As in `overtaking_steps`.
    n_bits, dim, rotation
        As in `hamming_variance`.

    Returns
    -------
    float or array
        Of the kind of the arguments; computed by SciPy, so not differentiable.

    Raises
    ------
    TypeError, ValueError
        As `overtaking_steps` and `hamming_variance`.

    Examples
    --------
    >>> from hashneg import theory
    >>> round(theory.overtaking_probability(0.5, 1.0, 1.0, n_bits=128, dim=256), 4)
    0.0002
    """
    from scipy.special import ndtr

    (near, far, between), export = values.take_numpy(near=near, far=far, between=between)
    up, down = _steps(near, far, between)
    variance = difference_variance(near, far, between, n_bits, dim, rotation)
    # a tie is broken by the index, which is as good as a coin: the count is spread by a uniform of width 1
    return export(ndtr(-n_bits * (up - down) / np.sqrt(variance + 1 / 12)))


def difference_variance(
    near: Any, far: Any, between: Any, n_bits: int, dim: int, rotation: str = "orthogonal"
) -> np.ndarray:
    """The variance of H_far - H_near, float64 NumPy.

    For independent rows it is n_bits (far_only + near_only - (far_only - near_only)^2). For orthonormal rows two bits
    are correlated. To first order in 1 / d their covariance is -|M_far - M_near|^2 / (2 d) in the Frobenius norm, where
    M_y = (cos t (c c' + y y') - (c y' + y c')) / (pi sin t) is what the event "c and y are separated" tells of the
    second moments of the row, c the query, y the item and t the angle between them.
    """
    sizes, width = values.blocks(n_bits, dim, rotation)
    near, far, between = (np.asarray(angle, np.float64) for angle in (near, far, between))
    up, down = _steps(near, far, between)
    variance = n_bits * (up + down - (up - down) ** 2)
    pairs = sum(size * (size - 1) for size in sizes)
    if pairs:
        variance = variance - pairs / (2 * width) * _moment_distance(near, far, between)
    return np.maximum(variance, 0.0)


def miss_bound(near: Any, far: Any, between: Any, n_bits: int, k: int) -> Any:
    """A bound on the probability that the true nearest item is not among the k nearest by Hamming distance.

    Markov's inequality for the number of items that overtake it: the sum of `overtaking_bound` over them, over k. Valid
    for independent rows; often far above the truth.

    Parameters
    ----------
    near : float or array (...)
        Angle of the nearest item from the query.
    far, between : array (..., n)
        Angles of the other items from the query, and from the nearest item.
    n_bits, k : int

    Returns
    -------
    array (...)
        At most 1.

    Raises
    ------
    TypeError, ValueError
        As `overtaking_bound`.

    Examples
    --------
    >>> import numpy as np
    >>> from hashneg import theory
    >>> others = np.full(1000, 1.2)
    >>> bool(theory.miss_bound(0.4, others, others, n_bits=256, k=8) < 1e-3)
    True
    """
    k = checks.integer(k, "k", minimum=1)
    xp, (near, far, between), _ = values.take(near=near, far=far, between=between)
    if near.ndim:
        near = near[..., None] if near.ndim < far.ndim else near
    bound = overtaking_bound(near, far, between, n_bits)
    share = xp.sum(bound, axis=-1) / k
    return xp.minimum(share, 0 * share + 1)


def _steps(near: Any, far: Any, between: Any) -> tuple[Any, Any]:
    up, down = (far + between - near) / (2 * math.pi), (near + between - far) / (2 * math.pi)
    apart = (near + far - between) / (2 * math.pi)
    if not values.all_true(
        (up >= -_SLACK) & (down >= -_SLACK) & (apart >= -_SLACK) & (apart + between / math.pi <= 1 + _SLACK)
    ):
        raise ValueError(
            "near, far and between must be the angles of three vectors: none may exceed the sum of the other two, nor "
            "all three together 2 pi"
        )
    return abs(up), abs(down)


def _moment_distance(near: np.ndarray, far: np.ndarray, between: np.ndarray) -> np.ndarray:
    """|M_far - M_near|^2, written out in the cosines."""
    a, b, c = np.cos(near), np.cos(far), np.cos(between)
    sines = np.maximum(np.sin(near) * np.sin(far), 1e-12)
    inner = a * b * (1 + a * a + b * b + c * c) - 2 * b * (a + b * c) - 2 * a * (b + a * c) + 2 * (c + a * b)
    both = np.sin(near) ** 2 + np.sin(far) ** 2
    return 2 * np.maximum(both - np.where(sines > 1e-9, inner / sines, 0.0), 0.0) / math.pi**2
