"""The one formula under all InfoNCE losses."""

from __future__ import annotations

from typing import Any

from hashneg.namespaces import numerics
from hashneg.weights.pairs import Pairs


def nce(pairs: Pairs, temperature: Any, log_weights: Any = None) -> Any:
    """-log(e^s+ / (e^s+ + sum of w e^s over the negatives)) of each row, s = cosine/temperature, (r,)."""
    logits, positive = pairs.cosine / temperature, pairs.positive / temperature
    if log_weights is not None:
        logits = logits + log_weights
    return numerics.softplus(numerics.logsumexp(numerics.masked(logits, pairs.mask)) - positive)
