"""Why orthonormal rows have less noise: the covariance of two bits."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

_POINTS = 4096
_TERMS = 64


def covariance(xp: Any, angle: Any, dim: int) -> Any:
    """Covariance of "bit i differs" and "bit j differs" for two orthonormal rows drawn from the Haar measure in R^dim.

    Only the directions of the two rows within the plane of the two vectors matter. Modulo pi, a bit differs when its
    row's direction falls into an interval of length `angle`, and the autocorrelation of that interval has the Fourier
    coefficients sin(k angle)^2 / (k pi)^2. The angle delta between the directions of two orthonormal rows has
    E cos(2 k delta) = F_k; so the covariance is 2 sum_k F_k sin(k angle)^2 / (k pi)^2.
    """
    if dim == 2:  # the second row is the first one turned by pi / 2
        p = angle / math.pi
        return xp.maximum(2 * p - 1, 0 * p) - p**2
    total = 0 * angle
    for k, coefficient in enumerate(harmonics(dim), 1):
        total = total + 2 * coefficient / (k * math.pi) ** 2 * xp.sin(k * angle) ** 2
    return total


@lru_cache(maxsize=64)
def harmonics(dim: int) -> tuple[float, ...]:
    """F_k = E cos(2 k delta), k = 1, 2, ... as far as they matter; dim >= 3.

    The top left 2 x 2 block A of a Haar matrix has density proportional to det(I - A A')^((dim - 5) / 2). With the
    lengths of its rows integrated out, delta has density proportional to 2F1(1, 1; (dim + 1) / 2; sin(delta)^2).
    """
    from scipy.special import hyp2f1

    delta = (np.arange(_POINTS) + 0.5) * math.pi / _POINTS
    density = hyp2f1(1.0, 1.0, (dim + 1) / 2, np.sin(delta) ** 2)
    density /= density.sum()
    coefficients = [float(density @ np.cos(2 * k * delta)) for k in range(1, _TERMS + 1)]
    needed = [k for k, value in enumerate(coefficients, 1) if abs(value) > 1e-15 * k**2]
    return tuple(coefficients[: max(needed, default=1)])
