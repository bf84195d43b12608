"""Synthetic hard negatives: mixtures of an anchor's hardest negatives with each other and with the anchor."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import checks, namespaces
from hashneg.namespaces import numerics
from hashneg.sorting.order import descending
from hashneg.weights.pairs import checked


def mochi(
    anchors: Any,
    negatives: Any,
    *,
    n_hardest: int = 64,
    n_pairs: int = 16,
    n_with_anchor: int = 16,
    seed: int = 0,
    uniform: Any = None,
    mask: Any = None,
) -> Any:
    """MoCHi: mix pairs of hard negatives, and hard negatives with their anchor.

    A pair gives ``a n_1 + (1 - a) n_2``, a uniform in (0, 1); a negative and the anchor q give ``b q + (1 - b) n``, b
    uniform in (0, 1/2), so that the negative weighs more. Each mixture is scaled to length 1.

    Parameters
    ----------
    anchors : array, float (n, d)
    negatives : array, float (m, d) or (n, k, d)
        Shared by all anchors, or each anchor's own: mined ones, a queue, the other items of the batch.
    n_hardest : int
        Mix only the negatives of largest cosine, or all where there are fewer.
    n_pairs, n_with_anchor : int
        Mixtures of each kind for an anchor.
    seed : int
        Of the draw, by NumPy. A function that is compiled draws once, when it is traced: pass `uniform` there.
    uniform : array, float (n, n_pairs + n_with_anchor, 3), optional
        Numbers in [0, 1) from the framework's own generator, used in place of `seed`.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding. An anchor without a real negative gets zeros, which the `mask` of
        the loss should leave out.

    Returns
    -------
    array, float (n, n_pairs + n_with_anchor, d)
        Constants to differentiation, to be passed on as `negatives` of a loss.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Kalantidis et al., *Hard negative mixing for contrastive learning*, NeurIPS 2020, sections 3.2 and 3.3.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> anchors, others = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> hn.losses.mochi(anchors, others, n_hardest=4, n_pairs=3, n_with_anchor=2).shape
    (8, 5, 16)
    """
    n_pairs = checks.integer(n_pairs, "n_pairs", minimum=0)
    n_with_anchor = checks.integer(n_with_anchor, "n_with_anchor", minimum=0)
    xp, q, hardest, some = _hardest(anchors, negatives, n_hardest, mask)
    u = _numbers(uniform, "uniform", seed, (n_pairs + n_with_anchor, 3), q)
    first, second = hardest(u[..., 0]), hardest(u[..., 1])
    share = u[..., 2:]
    pairs = share * first + (1 - share) * second
    with_anchor = share / 2 * q[:, None, :] + (1 - share / 2) * first
    mixed = xp.concat([pairs[:, :n_pairs], with_anchor[:, n_pairs:]], axis=1)
    return namespaces.stop_gradient(numerics.unit_rows(mixed) * some)


def synco(
    anchors: Any,
    negatives: Any,
    *,
    n_hardest: int = 64,
    counts: tuple[int, int, int, int, int, int] = (16, 16, 16, 4, 4, 4),
    alpha: float = 0.5,
    beta: float = 1.5,
    gamma: float = 1.0,
    sigma: float = 0.01,
    delta: float = 0.01,
    eta: float = 0.01,
    seed: int = 0,
    uniform: Any = None,
    normal: Any = None,
    mask: Any = None,
) -> Any:
    """SynCo: six kinds of synthetic negatives of an anchor q from its hardest negatives n.

    1. ``a q + (1 - a) n``, a uniform in (0, alpha)
    2. ``q + b (n - q)``, b uniform in (1, beta)
    3. ``g n_1 + (1 - g) n_2``, g uniform in (0, gamma)
    4. ``n`` plus normal noise of standard deviation sigma
    5. ``n + delta q``, a step along the gradient of q·n
    6. ``n + eta sign(q)``

    Each is scaled to length 1. (The authors' code approximates kinds 5 and 6 by differences along a random
    direction; here the gradient, which is q, is used itself.)

    Parameters
    ----------
    anchors : array, float (n, d)
    negatives : array, float (m, d) or (n, k, d)
        Shared by all anchors, or each anchor's own.
    n_hardest : int
        Use only the negatives of largest cosine, or all where there are fewer.
    counts : six ints
        How many of each kind for an anchor.
    alpha, beta, gamma, sigma, delta, eta : float
    seed : int
        Of the draw, by NumPy. A function that is compiled draws once, when it is traced: pass `uniform` and
        `normal` there.
    uniform : array, float (n, sum(counts), 3), optional
        Numbers in [0, 1) from the framework's own generator, used in place of `seed`.
    normal : array, float (n, counts[3], d), optional
        Standard normal numbers, likewise.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding. An anchor without a real negative gets zeros, which the `mask` of
        the loss should leave out.

    Returns
    -------
    array, float (n, sum(counts), d)
        Constants to differentiation, in the order of the kinds.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Giakoumoglou & Stathaki, *SynCo: synthetic hard negatives in contrastive learning*, arXiv 2410.02401, with the
    limits and strengths of the authors' code.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> anchors, others = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> hn.losses.synco(anchors, others, n_hardest=4, counts=(1, 1, 1, 1, 1, 1)).shape
    (8, 6, 16)
    """
    if len(counts) != 6:
        raise ValueError(f"counts must hold six numbers, one for each kind, got {len(counts)}")
    sizes = [checks.integer(count, f"counts[{i}]", minimum=0) for i, count in enumerate(counts)]
    xp, q, hardest, some = _hardest(anchors, negatives, n_hardest, mask)
    u = _numbers(uniform, "uniform", seed, (sum(sizes), 3), q)
    noise = _numbers(normal, "normal", seed, (sizes[3], q.shape[1]), q)
    ends = np.cumsum([0, *sizes])
    draws = [u[:, ends[i] : ends[i + 1]] for i in range(6)]
    n = [hardest(draw[..., 0]) for draw in draws]
    q = q[:, None, :]
    a, b, g = draws[0][..., 2:] * alpha, 1 + draws[1][..., 2:] * (beta - 1), draws[2][..., 2:] * gamma
    kinds = [
        a * q + (1 - a) * n[0],
        q + b * (n[1] - q),
        g * n[2] + (1 - g) * hardest(draws[2][..., 1]),
        n[3] + sigma * noise,
        n[4] + delta * q,
        n[5] + eta * xp.sign(q),
    ]
    return namespaces.stop_gradient(numerics.unit_rows(xp.concat(kinds, axis=1)) * some)


def _hardest(anchors: Any, negatives: Any, n_hardest: int, mask: Any) -> tuple[Any, Any, Any, Any]:
    """Namespace, unit anchors, a function from uniform numbers (n, s) to rows (n, s, d) of the hardest negatives, and
    1 for anchors that have any, (n, 1, 1).
    """
    n_hardest = checks.integer(n_hardest, "n_hardest", minimum=1)
    q, _, unit, mask = checked(anchors, anchors, negatives, mask)
    xp = namespaces.of(q)
    if len(unit.shape) == 2:
        cosine = namespaces.matmul(q, xp.matrix_transpose(unit))
    else:
        cosine = namespaces.matmul(unit, q[..., None])[..., 0]
    allowed = xp.ones_like(cosine) > 0
    if mask is not None:
        allowed = allowed & mask
    order = descending(xp.where(allowed, cosine, xp.full_like(cosine, -2.0)))[:, :n_hardest]
    real = xp.sum(xp.astype(allowed, q.dtype), axis=-1, keepdims=True)
    limit = xp.full_like(real, namespaces.length(order, -1))
    real = xp.where(real < limit, real, limit)

    def take(u: Any) -> Any:
        place = xp.astype(u * real, order.dtype)  # truncates
        last = xp.astype(real, order.dtype) - 1
        place = xp.maximum(xp.minimum(place, last), xp.zeros_like(place))  # u * real may round up to real
        rows = xp.take_along_axis(order, place, axis=-1)
        found = namespaces.take_rows(unit, rows)
        return xp.where(real[..., None] > 0, found, xp.zeros_like(found))  # what lies in padding may be NaN

    return xp, q, take, xp.astype(real[..., None] > 0, q.dtype)


def _numbers(given: Any, name: str, seed: int, shape: tuple[int, int], q: Any) -> Any:
    """Random numbers (n, *shape) in the dtype of `q`: those given, or NumPy's by the seed."""
    if given is not None:
        _, given, _ = namespaces.floats(name, given, ("anchors", q))
        if tuple(given.shape[1:]) != shape or len(given.shape) != 3:
            raise ValueError(f"{name} must have shape (n, {shape[0]}, {shape[1]}), got {tuple(given.shape)}")
        return namespaces.of(q).astype(given, q.dtype)
    if q.shape[0] is None:
        raise ValueError(f"the number of anchors is not known while tracing: pass {name}")
    rng = np.random.default_rng([checks.integer(seed, "seed", minimum=0), len(name)])
    size = (int(q.shape[0]), *shape)
    return namespaces.constant(rng.random(size) if name == "uniform" else rng.standard_normal(size), q, q.dtype)
