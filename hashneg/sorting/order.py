"""What all relaxed sorts share: their arguments, the exact order, and the hard matrix with a soft gradient."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.arrays import describe
from hashneg.namespaces import numerics


def checked(scores: Any, temperature: Any, m: Any, *, whole: bool = True) -> tuple[Any, Any, Any, int]:
    """Namespace, scores in working precision, temperature, number of rows; `whole`: n itself has to be known."""
    xp, s = namespaces.floats("scores", scores)
    if not len(s.shape) or s.shape[-1] == 0:
        raise ValueError(f"scores must have shape (..., n) with n > 0, got {describe(scores)}")
    n = s.shape[-1]
    if n is None and (m is None or whole):
        raise ValueError("the number of scores in a list is not known while tracing: give the scores a static shape")
    m = n if m is None else checks.integer(m, "m", minimum=1)
    if n is not None and m > n:
        raise ValueError(f"m={m} ranks were asked for, but scores have only n={n} items")
    return xp, s, numerics.positive_number(temperature, "temperature", s), m


def descending(scores: Any) -> Any:
    """Indices by (-score, index)."""
    xp = namespaces.of(scores)
    return xp.argsort(namespaces.stop_gradient(scores), axis=-1, descending=True, stable=True)


def hardened(soft: Any, order: Any) -> Any:
    """The exact permutation matrix of `order` (..., m), with the gradient of `soft` (..., m, n)."""
    return numerics.straight_through(numerics.one_hot(order, namespaces.length(soft, -1), soft), soft)
