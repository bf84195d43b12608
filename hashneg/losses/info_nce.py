"""InfoNCE, also weighted, smoothed and in both directions."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.arrays import describe
from hashneg.losses.nce import nce
from hashneg.namespaces import numerics
from hashneg.weights.pairs import Pairs, same_shape, similarities


def info_nce(
    anchors: Any,
    positives: Any,
    negatives: Any = None,
    *,
    temperature: Any = 0.07,
    symmetric: bool = False,
    label_smoothing: float = 0.0,
    weights: Any = None,
    mask: Any = None,
) -> Any:
    """Cross entropy of finding each anchor's positive among the batch and the negatives.

    With s = cosine/temperature, the mean over the anchors of ``-log(e^s+ / (e^s+ + sum_j w_j e^s_j))``, where j runs
    over the other positives of the batch and the `negatives`.

    Parameters
    ----------
    anchors, positives : array, float (n, d)
        Rows of equal number belong together.
    negatives : array, float (m, d) or (n, k, d), optional
        More negatives: shared by all anchors, or each anchor's own.
    temperature : float or 0-d array
        Above 0. An array is differentiated too: a learnable temperature.
    symmetric : bool
        The mean with the opposite direction, which finds each positive's anchor in the batch; `negatives` take
        part in the first direction only.
    label_smoothing : float
        In 0..1: the share of the target that is spread over all candidates evenly, the positive included. The
        weights take no part in it.
    weights : array, float (n, n), (n, n + m) or (n, n + k), optional
        w, at least 0, one for each column of `similarities`; a weight of 0 leaves the pair out. From
        `hashneg.weights`, for example. The diagonal is not used.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding.

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    van den Oord, Li & Vinyals, *Representation learning with contrastive predictive coding*, arXiv 1807.03748,
    equation 4.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> rng = np.random.default_rng(0)
    >>> anchors, positives, negatives = rng.standard_normal((3, 8, 16))
    >>> float(hn.losses.info_nce(anchors, anchors + 0.1 * positives, negatives, temperature=0.5).round(4))
    1.2315
    """
    smoothing = checks.real(label_smoothing, "label_smoothing", minimum=0.0, maximum=1.0)
    pairs = similarities(anchors, positives, negatives, mask=mask)
    xp = namespaces.of(pairs.cosine)
    temperature = numerics.positive_number(temperature, "temperature", pairs.cosine)
    log_weights = None if weights is None else _log(weights, pairs)
    loss = _loss(pairs, temperature, smoothing, log_weights)
    if symmetric:
        n = namespaces.length(pairs.positive, 0)
        flipped = Pairs(
            pairs.positive, xp.matrix_transpose(pairs.cosine[:, :n]), xp.matrix_transpose(pairs.mask[:, :n])
        )
        if log_weights is not None:
            log_weights = xp.matrix_transpose(log_weights[:, :n])
        loss = (loss + _loss(flipped, temperature, smoothing, log_weights)) / 2
    return loss


def _loss(pairs: Pairs, temperature: Any, smoothing: float, log_weights: Any) -> Any:
    xp = namespaces.of(pairs.cosine)
    loss = nce(pairs, temperature, log_weights)
    if smoothing:
        candidates = 1 + xp.sum(xp.astype(pairs.mask, loss.dtype), axis=-1)
        total = pairs.positive + xp.sum(numerics.masked(pairs.cosine, pairs.mask, 0.0), axis=-1)
        loss = loss + smoothing * (pairs.positive - total / candidates) / temperature
    return xp.mean(loss)


def _log(weights: Any, pairs: Pairs) -> Any:
    """log(weights), `LOW` for 0."""
    xp, w, _ = namespaces.floats("weights", weights, ("cosines", pairs.cosine))
    if not same_shape(w.shape, pairs.cosine.shape):
        raise ValueError(f"weights must have shape {tuple(pairs.cosine.shape)}, got {describe(weights)}")
    w = xp.astype(w, pairs.cosine.dtype)
    some = w > 0
    return numerics.masked(xp.log(xp.where(some, w, xp.ones_like(w))), some)
