"""Differentiable sorting networks: comparators that swap a little."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hashneg import checks, namespaces
from hashneg.namespaces import numerics
from hashneg.sorting.order import checked, descending, hardened

NETWORKS = ("odd_even", "bitonic")
RELAXATIONS = ("logistic", "cauchy", "reciprocal", "optimal")


def sorting_network(
    scores: Any,
    temperature: Any = 1.0,
    *,
    network: str = "odd_even",
    relaxation: str = "cauchy",
    m: int | None = None,
    hard: bool = False,
) -> Any:
    """The doubly stochastic matrix with which a relaxed sorting network sorts scores in descending order.

    A comparator of x and y lets x stay with the share F((x - y) / temperature) on the side of the larger value,
    and the rest of it goes to the other side.

    Parameters
    ----------
    scores : array, float (..., n)
    temperature : float or 0-d array
        Above 0; 1/temperature is the steepness of the relaxation.
    network : {"odd_even", "bitonic"}
        "odd_even": odd-even transposition, n layers. "bitonic": about log2(n)^2 / 2 layers, in the form whose
        comparators all point the same way, so that n need not be a power of two.
    relaxation : {"logistic", "cauchy", "reciprocal", "optimal"}
        F(v) is ``1/(1 + exp(-v))``; ``atan(v)/pi + 1/2``; ``(v/(2 + |v|) + 1)/2``; or ``v + 1/2`` for
        ``|v| <= 1/4`` and ``1 - 1/(16 v)`` above, mirrored below. All but the logistic give sorts that are
        monotonic in each score.
    m : int, optional
        Build only the rows of the first m ranks.
    hard : bool
        Return the exact permutation, ordered by (-score, index), with the gradient of the soft matrix
        (straight-through).

    Returns
    -------
    array, float (..., m, n)
        Rows and columns of the whole matrix sum to 1. float64 for float64 scores, else float32; of the framework
        of `scores`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Petersen et al., *Differentiable sorting networks for scalable sorting and ranking supervision*, ICML 2021, and
    *Monotonic differentiable sorting networks*, ICLR 2022 (their convention is ascending, with x @ P).

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> scores = np.array([0.1, 0.9, 0.5])
    >>> p = hn.sorting.sorting_network(scores, 0.01, relaxation="logistic")
    >>> (p @ scores).round(3)
    array([0.9, 0.5, 0.1])
    """
    xp, s, temperature, m = checked(scores, temperature, m)
    layers = _LAYERS[checks.choice(network, "network", NETWORKS)](s)
    share = _SHARES[checks.choice(relaxation, "relaxation", RELAXATIONS)]
    x, stays = s, []
    for partner, side in layers:
        difference = x - xp.take(x, partner, axis=-1)
        stay = share(xp, side * difference / temperature)
        x = x - (1 - stay) * difference
        stays.append((partner, stay))
    # from the last layer back: m rows pass through n layers, instead of n rows for the first m ranks
    rows = numerics.one_hot(namespaces.arange(m, s), int(s.shape[-1]), s) + xp.zeros_like(s)[..., None, :]
    for partner, stay in reversed(stays):
        moves = 1 - xp.take(stay, partner, axis=-1)
        rows = rows * stay[..., None, :] + xp.take(rows, partner, axis=-1) * moves[..., None, :]
    return hardened(rows, descending(s)[..., :m]) if hard else rows


# A layer is (partner, side): the place each place is compared with, itself where with none, and +1 where the larger
# value belongs, -1 where the smaller one does.
Layer = tuple[Any, Any]


def _layer(partners: list[int], s: Any) -> Layer:
    n = len(partners)
    inside = [j if 0 <= j < n else i for i, j in enumerate(partners)]
    sides = [1.0 if i <= j else -1.0 for i, j in enumerate(inside)]
    return namespaces.constant(inside, s), namespaces.constant(sides, s, s.dtype)


def _odd_even(s: Any) -> list[Layer]:
    n = int(s.shape[-1])
    two = [_layer([i + 1 if i % 2 == parity else i - 1 for i in range(n)], s) for parity in (0, 1)]
    return [two[layer % 2] for layer in range(n)]


def _bitonic(s: Any) -> list[Layer]:
    n, layers, run = int(s.shape[-1]), [], 2
    while run < 2 * n and n > 1:
        step, flips = run // 4, [run - 1]  # merge two sorted runs: end with end, then at ever half the distance
        while step:
            flips.append(step)
            step //= 2
        layers += [_layer([i ^ flip for i in range(n)], s) for flip in flips]
        run *= 2
    return layers


def _logistic(xp: Any, v: Any) -> Any:
    return (xp.tanh(v / 2) + 1) / 2


def _cauchy(xp: Any, v: Any) -> Any:
    return xp.atan(v) / math.pi + 0.5


def _reciprocal(xp: Any, v: Any) -> Any:
    return (v / (2 + xp.abs(v)) + 1) / 2


def _optimal(xp: Any, v: Any) -> Any:
    quarter = xp.full_like(v, 0.25)
    far = xp.abs(v) > 0.25
    size = xp.where(far, xp.abs(v), quarter)
    return xp.where(far, xp.sign(v) * (0.5 - 1 / (16 * size)), v) + 0.5


_LAYERS: dict[str, Callable[[Any], list[Layer]]] = {"odd_even": _odd_even, "bitonic": _bitonic}
_SHARES: dict[str, Callable[[Any, Any], Any]] = {
    "logistic": _logistic,
    "cauchy": _cauchy,
    "reciprocal": _reciprocal,
    "optimal": _optimal,
}
