"""GroCo: rank groups, not pairs, with a differentiable sorting network."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.sorting import sorting_network
from hashneg.sorting.order import descending
from hashneg.weights.pairs import Pairs, similarities


def groco(
    anchors: Any,
    positives: Any,
    negatives: Any = None,
    *,
    n_negatives: int = 10,
    temperature: Any = 1.0,
    network: str = "odd_even",
    relaxation: str = "cauchy",
    symmetric: bool = False,
    mask: Any = None,
) -> Any:
    """Binary cross entropy of the positive holding the top rank above the hardest negatives.

    The row of an anchor, its `n_negatives` hardest negatives in ascending order of cosine and then the positive,
    goes through a relaxed ascending sort P. What is compared with the truth is the share of each item in the ranks
    that belong to the negatives. (The share in the positive's ranks gives the same loss, since P is doubly
    stochastic.)

    Parameters
    ----------
    anchors, positives : array, float (n, d)
        Gradients flow to the anchors only.
    negatives : array, float (m, d) or (n, k, d), optional
        More negatives: shared by all anchors, or each anchor's own.
    n_negatives : int
        Hardest negatives that take part, at most as many as there are.
    temperature : float or 0-d array
        Of the comparators, above 0: 1/steepness.
    network, relaxation : str
        As for `hashneg.sorting.sorting_network`.
    symmetric : bool
        The mean with the loss in which positives are anchors and anchors positives, which needs `negatives` of
        shape (m, d) or none.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding; each anchor needs `n_negatives` real ones.

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Shvetsova, Petersen, Kukleva, Schiele & Kuehne, *Learning by sorting: self-supervised learning with group ordering
    constraints*, ICCV 2023, as in the authors' code.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> views = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> bool(hn.losses.groco(views[0], views[0], n_negatives=4) < hn.losses.groco(*views, n_negatives=4))
    True
    """
    n_negatives = checks.integer(n_negatives, "n_negatives", minimum=1)
    stop = namespaces.stop_gradient
    named = [] if negatives is None else [("negatives", negatives)]
    _, a, p, *rest = namespaces.floats("anchors", anchors, ("positives", positives), *named)
    extra = stop(rest[0]) if rest else None
    if symmetric and extra is not None and len(extra.shape) == 3:
        raise ValueError("symmetric=True needs negatives of shape (m, d): positives have none of their own")
    options = (n_negatives, temperature, network, relaxation)
    loss = _loss(similarities(a, stop(p), extra, mask=mask), *options)
    if symmetric:
        loss = (loss + _loss(similarities(p, stop(a), extra, mask=mask), *options)) / 2
    return loss


def _loss(pairs: Pairs, n_negatives: int, temperature: Any, network: str, relaxation: str) -> Any:
    xp = namespaces.of(pairs.cosine)
    columns = pairs.cosine.shape[-1]
    if columns is not None and n_negatives > columns - 1:
        raise ValueError(f"n_negatives={n_negatives} is more than the {columns - 1} negatives an anchor has")
    low = xp.where(pairs.mask, pairs.cosine, xp.full_like(pairs.cosine, -2.0))  # below every cosine
    hardest = xp.take_along_axis(low, descending(low)[:, :n_negatives], axis=-1)
    hardest = xp.reshape(hardest, (-1, n_negatives))  # a size that TensorFlow forgets where the batch is open
    row = xp.concat([xp.flip(hardest, axis=-1), pairs.positive[:, None]], axis=-1)
    ranks = sorting_network(-row, temperature, network=network, relaxation=relaxation, m=n_negatives)
    share = xp.sum(ranks, axis=-2)  # of each item in the ranks of the negatives
    step = 2.0**-52 if namespaces.dtype_name(share) == "float64" else 2.0**-23
    right = xp.concat([share[:, :-1], 1 - share[:, -1:]], axis=-1)
    return xp.mean(-xp.log(xp.maximum(right, xp.full_like(right, step))))
