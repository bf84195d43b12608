"""HCL's weights: a negative counts in proportion to e^(beta s)."""

from __future__ import annotations

import math
from typing import Any

from hashneg import checks, namespaces
from hashneg.namespaces import numerics
from hashneg.weights.arguments import checked


def hcl(
    similarities: Any,
    *,
    temperature: Any = 0.5,
    beta: float = 1.0,
    mask: Any = None,
    positive: Any = None,
    tau_plus: float = 0.0,
) -> Any:
    """Weights in proportion to e^(beta s/temperature), with a mean of 1 over the negatives of a row.

    With `tau_plus` they are scaled further, by one factor for each row, so that the weighted sum over the negatives
    is the debiased estimate of `hashneg.losses.hcl`; sampling probabilities do not change by that.

    Parameters
    ----------
    similarities : array, float (..., c)
        Cosines of anchors with candidates: `Pairs.cosine`, or the scores of mined candidates.
    temperature : float or 0-d array
        Above 0.
    beta : float
        At least 0; 0 gives equal weights.
    mask : array, bool (..., c), optional
        False where a column is no negative; its weight is 0.
    positive : array, float (...), optional
        Cosine with the positive; needed where `tau_plus` is not 0.
    tau_plus : float
        In [0, 1): the assumed share of positives among the negatives.

    Returns
    -------
    array, float (..., c)
        Differentiable.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Robinson, Chuang, Sra & Jegelka, *Contrastive learning with hard negative samples*, ICLR 2021.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.hcl(np.array([[0.9, 0.5, 0.1]]), temperature=0.5, beta=1.0).round(2)
    array([[1.82, 0.82, 0.37]])
    """
    xp, s, mask, positive = checked(similarities, mask, positive)
    temperature = numerics.positive_number(temperature, "temperature", s)
    logs = numerics.masked(log_weights(s, temperature, beta, mask, positive, tau_plus), mask, 0.0)
    return numerics.masked(xp.exp(logs), mask, 0.0)


def log_weights(s: Any, temperature: Any, beta: float, mask: Any, positive: Any, tau_plus: float) -> Any:
    """log of the weights; what it says where `mask` is False is not to be read."""
    beta = checks.real(beta, "beta", minimum=0.0)
    tau_plus = checks.real(tau_plus, "tau_plus", minimum=0.0)
    if tau_plus >= 1:
        raise ValueError(f"tau_plus is a share and must be below 1, got {tau_plus}")
    if tau_plus and positive is None:
        raise ValueError("tau_plus corrects for hidden positives, so it needs positive, their cosines")
    logits = s / temperature
    tilt = beta * logits
    log_count = _log_count(s, mask)[..., None]
    log_w = tilt - numerics.logsumexp(numerics.masked(tilt, mask))[..., None] + log_count
    if tau_plus:
        log_sum = numerics.logsumexp(numerics.masked(logits + log_w, mask))[..., None]
        log_w = log_w + _debias(log_sum, positive[..., None] / temperature, log_count, temperature, tau_plus) - log_sum
    return log_w


def _debias(log_sum: Any, positive: Any, log_count: Any, temperature: Any, tau_plus: float) -> Any:
    """log(max((sum - tau_plus N pos) / (1 - tau_plus), N e^(-1/t))), each number given by its logarithm."""
    xp = namespaces.of(log_sum)
    floor = log_count - 1 / temperature
    excess = math.log(tau_plus) + log_count + positive - log_sum
    below = excess < 0  # else more hidden positives are assumed than the whole sum holds
    left = xp.log(-xp.expm1(xp.where(below, excess, -xp.ones_like(excess))))
    estimate = log_sum + left - math.log1p(-tau_plus)
    return xp.where(below & (estimate > floor), estimate, floor + xp.zeros_like(estimate))


def _log_count(s: Any, mask: Any) -> Any:
    """log of the number of negatives of each row, 0 for none."""
    xp = namespaces.of(s)
    count = xp.sum(numerics.masked(xp.ones_like(s), mask, 0.0), axis=-1)
    return xp.log(xp.maximum(count, xp.ones_like(count)))
