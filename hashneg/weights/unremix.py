"""UnReMix: a negative's importance from its similarity, the model's uncertainty and its representativeness."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.namespaces import numerics
from hashneg.weights.pairs import checked, similarities
from hashneg.weights.uncertainty import gradient_similarity, products


def unremix(
    anchors: Any,
    positives: Any,
    negatives: Any = None,
    *,
    temperature: Any = 0.07,
    similarity: float = 1.0,
    uncertainty: float = 1.0,
    representativeness: float = 1.0,
    mask: Any = None,
    detach: bool = True,
) -> Any:
    """UnReMix weights of the negatives of `info_nce`, a reconstruction.

    Three scores of a negative j for an anchor i are scaled to 0..1 over the anchor's negatives, summed with the three
    factors, and scaled to a mean of 1:

    - similarity: the cosine of i and j;
    - uncertainty: the inner product of their last-layer gradients, where the task is to tell which item of the
      batch the other view belongs to: ``<p_i - y_i, p_j - y_j> <f_i, f_j>``, see `gradient_similarity`;
    - representativeness: the mean squared distance of j to the other negatives of i.

    Parameters
    ----------
    anchors, positives : array, float (n, d)
    negatives : array, float (m, d) or (n, k, d), optional
        Shared by all anchors, or each anchor's own. Having no partner in the batch, one gets the anchor it
        resembles most for its target y.
    temperature : float or 0-d array
        Of the probabilities p, above 0.
    similarity, uncertainty, representativeness : float
        Factors, at least 0; 0 switches a score off. With all three off the weights are equal.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding.
    detach : bool
        Take the weights for constants.

    Returns
    -------
    array, float (n, n), (n, n + m) or (n, n + k)
        For ``info_nce(..., weights=)``; 0 on the diagonal and where `mask` is False.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    A reconstruction: the structure (three scores, from features, from last-layer gradients and from the mean
    distance to the other negatives, combined to one weight) is the paper's as described by its abstract and public
    notes. Its formulas were not available; the scaling, the sum, the pseudo-label of extra negatives and the
    constants are ours.

    References
    ----------
    Tabassum, Wahed, Eldardiry & Lourentzou, *Hard negative sampling strategies for contrastive representation
    learning*, arXiv 2206.01197.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> views = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> w = hn.weights.unremix(*views)
    >>> w.shape, bool(np.allclose(w.sum(axis=1) / 7, 1)), float(np.diag(w).max())
    ((8, 8), True, 0.0)
    >>> loss = hn.losses.info_nce(*views, weights=w)
    """
    pairs = similarities(anchors, positives, negatives, mask=mask)
    a, p, extra, _ = checked(anchors, positives, negatives, mask)
    xp = namespaces.of(a)
    temperature = numerics.positive_number(temperature, "temperature", a)
    u = r = None
    if uncertainty:
        own = numerics.one_hot(namespaces.arange(namespaces.length(a, 0), a), namespaces.length(a, 0), a)
        of_anchors = _probabilities(a, p, temperature) - own
        u = gradient_similarity(of_anchors, a, _probabilities(p, a, temperature) - own, p)
        if extra is not None:
            guess = _probabilities(extra, a, temperature)
            target = numerics.one_hot(xp.argmax(guess, axis=-1), namespaces.length(a, 0), a)
            u = xp.concat([u, gradient_similarity(of_anchors, a, guess - target, extra)], axis=-1)
    if representativeness:
        r = _mean_distances(p, extra, pairs.mask)
    w = importance(pairs.cosine, u, r, mask=pairs.mask, factors=(similarity, uncertainty, representativeness))
    return namespaces.stop_gradient(w) if detach else w


def importance(
    similarity: Any,
    uncertainty: Any = None,
    representativeness: Any = None,
    *,
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0),
    mask: Any = None,
) -> Any:
    """Combine UnReMix's scores: each scaled to 0..1 along the last axis, summed with factors, with a mean of 1.

    Parameters
    ----------
    similarity, uncertainty, representativeness : array, float (..., c)
        Scores of the negatives of each row; None leaves one out. A constant score gives 1 for all.
    factors : three floats
        At least 0; 0 leaves a score out.
    mask : array, bool (..., c), optional
        False where a column is no negative; its weight is 0.

    Returns
    -------
    array, float (..., c)

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    A reconstruction, as `unremix`.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.importance(np.array([[0.2, 0.4, 0.6]]), representativeness=np.array([[3.0, 1.0, 1.0]]))
    array([[1.2, 0.6, 1.2]])
    """
    if len(factors) != 3:
        raise ValueError(f"factors must hold three numbers, got {len(factors)}")
    names = ("similarity", "uncertainty", "representativeness")
    scores = (similarity, uncertainty, representativeness)
    shares = [checks.real(factor, f"factors[{i}]", minimum=0.0) for i, factor in enumerate(factors)]
    given = [(name, x) for name, x in zip(names, scores, strict=True) if x is not None]
    if not given:
        raise ValueError("importance needs at least one score")
    xp, *floats = namespaces.floats(*given[0], *given[1:])
    used = dict(zip((name for name, _ in given), floats, strict=True))
    total = xp.zeros_like(floats[0])
    for name, factor in zip(names, shares, strict=True):
        if factor and name in used:
            total = total + factor * numerics.min_max(used[name], mask)
    if not any(factor and name in used for name, factor in zip(names, shares, strict=True)):
        total = xp.ones_like(total)
    total = numerics.masked(total, mask, 0.0)
    count = xp.sum(numerics.masked(xp.ones_like(total), mask, 0.0), axis=-1, keepdims=True)
    whole = xp.sum(total, axis=-1, keepdims=True)
    return total * count / xp.where(whole > 0, whole, xp.ones_like(whole))


def _probabilities(rows: Any, classes: Any, temperature: Any) -> Any:
    """Softmax of the cosines of rows (..., d) with classes (n, d)."""
    return numerics.softmax(namespaces.matmul(rows, namespaces.of(rows).matrix_transpose(classes)) / temperature)


def _mean_distances(p: Any, extra: Any, mask: Any) -> Any:
    """Mean squared distance of each column to the other negatives of the row, (n, c)."""
    xp = namespaces.of(p)
    n = namespaces.length(p, 0)
    allowed = xp.astype(mask, p.dtype)
    count = xp.sum(allowed, axis=-1, keepdims=True)
    total = namespaces.matmul(allowed[:, :n], p)
    if extra is None:
        return _distances(p, total, count)
    if len(extra.shape) == 2:
        total = total + namespaces.matmul(allowed[:, n:], extra)
    else:
        total = total + namespaces.matmul(allowed[:, None, n:], extra)[:, 0]
    return xp.concat([_distances(p, total, count), _distances(extra, total, count)], axis=-1)


def _distances(rows: Any, total: Any, count: Any) -> Any:
    """2 N / (N - 1) - 2 f . total / (N - 1) of rows (c, d) or (n, c, d) against each row's sum (n, d) of N, (n, c)."""
    xp = namespaces.of(rows)
    others = xp.where(count > 1, count - 1, xp.ones_like(count))
    return 2 * (others + 1 - products(total, rows)) / others
