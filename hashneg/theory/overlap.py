"""How many of the true neighbours come back: overlap@k from the angles of a query to all rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hashneg import checks
from hashneg.theory import values
from hashneg.theory.overtaking import difference_variance

_STEPS = 22  # bisections: H is found to n_bits / 2^22


class Cut(NamedTuple):
    """Where the Hamming search stops, for each query.

    Attributes
    ----------
    distance : float64 (nq, 1), where the expected number of rows is the pool
    variance : float64 (nq, 1), how much this distance varies, since the rows counted are random
    """

    distance: np.ndarray
    variance: np.ndarray


class Law(NamedTuple):
    """Of the codes: n_bits, dim and rotation as in `hamming_variance`."""

    n_bits: int
    dim: int
    rotation: str

    def mean(self, angles: np.ndarray) -> np.ndarray:
        """The expected Hamming distance."""
        return self.n_bits * angles / math.pi

    def noise(self, angles: np.ndarray, residual: Any) -> np.ndarray:
        """The variance of H against competitors at the same angle.

        Half the variance of the difference of two such rows, whose own angle follows from the residual correlation:
        cos(between) = cos(angle)^2 + residual sin(angle)^2. What moves all of them alike changes no order and does
        not count. Ties are broken by a coin, which adds 1 / 12.
        """
        cosine = np.cos(angles) ** 2
        between = np.arccos(np.clip(cosine + residual * (1 - cosine), -1.0, 1.0))
        return difference_variance(angles, angles, between, *self) / 2 + 1 / 12


def expected_overlap(
    angles: Any,
    k: int,
    n_bits: int,
    dim: int,
    *,
    pool: int | None = None,
    rotation: str = "orthogonal",
    residual: float = 0.0,
) -> Any:
    """The expected share of the k nearest rows that are among the `pool` nearest by Hamming distance.

    A row is kept when its distance is below the one at which the expected number of rows reaches the pool. Distances
    are taken as normal, with the variance that separates a row from competitors at its own angle.

    Parameters
    ----------
    angles : array, float (nq, n)
        Of each query to all rows, in any order; radians.
    k : int
    n_bits, dim : int
    pool : int, optional
        Candidates taken from the Hamming search, k by default. With exact reranking of the pool this is the overlap
        after it.
    rotation : {"orthogonal", "gaussian", "hadamard"}
    residual : float
        The mean correlation of the directions in which near rows lie, seen from the query: 0 where they lie around
        it evenly, towards 1 where they form one cluster. `plan` measures it.

    Returns
    -------
    array, float (nq,)
        Of the framework of `angles`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> from hashneg import theory
    >>> angles = np.random.default_rng(0).normal(1.5, 0.1, (1, 10_000))
    >>> [round(float(theory.expected_overlap(angles, 16, b, dim=256)[0]), 2) for b in (64, 256, 1024)]
    [0.05, 0.28, 0.53]
    """
    k = checks.integer(k, "k", minimum=1)
    pool = k if pool is None else checks.integer(pool, "pool", minimum=k)
    values.blocks(n_bits, dim, rotation)
    residual = checks.real(residual, "residual", minimum=-1.0, maximum=1.0)
    (theta,), export = values.take_numpy(angles=angles)
    values.check_angle(theta, "angles")
    if np.ndim(theta) != 2 or theta.shape[1] < k:
        raise ValueError(f"angles must have shape (nq, n) with n >= k={k}, got {np.shape(theta)}")
    law = Law(n_bits, dim, rotation)
    theta = np.sort(theta, axis=1)
    cut = find_cut(law, theta, np.ones_like(theta), pool, residual)
    return export(kept(law, theta[:, :k], cut, residual).mean(axis=1))


def find_cut(law: Law, angles: np.ndarray, weights: np.ndarray, pool: float, residual: Any) -> Cut:
    """The Hamming distance within which `pool` rows are expected.

    Parameters
    ----------
    angles, weights : float64 (nq, g)
        Groups of rows: their angle and their number.
    pool : float
    residual : float, or float64 (nq, 1)
    """
    from scipy.special import ndtr

    mean, noise = law.mean(angles), np.sqrt(law.noise(angles, residual))
    low = (mean - 8 * noise).min(axis=1, keepdims=True)
    high = (mean + 8 * noise).max(axis=1, keepdims=True)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = (weights * ndtr((middle - mean) / noise)).sum(axis=1, keepdims=True) >= pool
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    score = (high - mean) / noise
    share = ndtr(score)
    density = (weights / noise * np.exp(-(score**2) / 2)).sum(axis=1, keepdims=True) / math.sqrt(2 * math.pi)
    spread = (weights * share * (1 - share)).sum(axis=1, keepdims=True)
    own = law.noise(np.clip(high * math.pi / law.n_bits, 0.0, math.pi), residual)  # where rows are sparse, no more
    return Cut(high, np.minimum(spread / np.maximum(density, 1e-150) ** 2, own))


def kept(law: Law, angles: np.ndarray, cut: Cut, residual: Any) -> np.ndarray:
    """The probability that rows at these angles (nq, m) are among those within the cut, float64 (nq, m)."""
    from scipy.special import ndtr

    return ndtr((cut.distance - law.mean(angles)) / np.sqrt(law.noise(angles, residual) + cut.variance))
