"""Arithmetic shared by soft sorts, weights and losses: finite values and gradients at the edges of floating point.

Everything works along the last axis, on arrays in working precision (float32 or float64).
"""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.arrays import describe, framework_of

LOW = -1e30  # stands for log(0): exp gives 0, and differences stay numbers
_FLAT = 64  # rounding steps within which a score counts as constant


def positive_number(value: Any, name: str, like: Any) -> Any:
    """A float above 0, or a 0-d array (a learnable temperature) in the dtype of `like`, whose value is not read."""
    if isinstance(value, float) or framework_of(value) is None:  # torch.compile cannot trace the second for a float
        number = checks.real(value, name)
        if number <= 0:
            raise ValueError(f"{name} must be above 0, got {number}")
        return number
    if len(value.shape) or framework_of(value) != framework_of(like):
        raise ValueError(f"{name} must be a number or a 0-d array of the framework of the data, got {describe(value)}")
    return namespaces.of(like).astype(value, like.dtype)


def unit_rows(x: Any) -> Any:
    """Vectors scaled to length 1; zero vectors stay zero, with the gradient of the identity."""
    xp = namespaces.of(x)
    # the length of a direction does not change its normalisation, so the peak is a constant to differentiation
    peak = namespaces.stop_gradient(xp.max(xp.abs(x), axis=-1, keepdims=True))
    x = x / xp.where(peak > 0, peak, xp.ones_like(peak))
    square = xp.sum(x * x, axis=-1, keepdims=True)
    return x / xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))


def absolute(x: Any) -> Any:
    """abs(x) with the gradient 0 at 0, where JAX's own has 1."""
    return x * namespaces.of(x).sign(namespaces.stop_gradient(x))


def softmax(x: Any) -> Any:
    xp = namespaces.of(x)
    e = xp.exp(x - namespaces.stop_gradient(xp.max(x, axis=-1, keepdims=True)))
    return e / xp.sum(e, axis=-1, keepdims=True)


def logsumexp(x: Any) -> Any:
    xp = namespaces.of(x)
    peak = namespaces.stop_gradient(xp.max(x, axis=-1, keepdims=True))
    return xp.log(xp.sum(xp.exp(x - peak), axis=-1)) + peak[..., 0]


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), with the gradient 1/2 at 0."""
    xp = namespaces.of(x)
    size = xp.abs(x)
    return (x + size) / 2 + xp.log1p(xp.exp(-size))


def straight_through(hard: Any, soft: Any) -> Any:
    """The value of `hard`, exactly, with the gradient of `soft`."""
    stop = namespaces.stop_gradient
    return stop(hard) + (soft - stop(soft))


def one_hot(indices: Any, n: int, like: Any) -> Any:
    """(..., n) with 1 at each index of (...), in the dtype of `like`."""
    xp = namespaces.of(like)
    places = xp.astype(namespaces.arange(n, like), indices.dtype)
    return xp.astype(indices[..., None] == places, like.dtype)


def masked(x: Any, mask: Any, otherwise: float = LOW) -> Any:
    """`x` where `mask`, else a constant."""
    xp = namespaces.of(x)
    return x if mask is None else xp.where(mask, x, xp.full_like(x, otherwise))


def min_max(x: Any, mask: Any = None) -> Any:
    """Scale each row's values where `mask` to 0..1; a constant row gives 1, also where it is so up to rounding."""
    xp = namespaces.of(x)
    high = xp.max(masked(x, mask), axis=-1, keepdims=True)
    low = xp.min(masked(x, mask, -LOW), axis=-1, keepdims=True)
    size = xp.maximum(xp.abs(high), xp.abs(low))
    step = 2.0**-52 if namespaces.dtype_name(x) == "float64" else 2.0**-23
    flat = high - low <= _FLAT * step * size
    one = xp.ones_like(high)
    return xp.where(flat, one, (x - low) / xp.where(flat, one, high - low))
