"""A projection that somebody else has learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import arrays, namespaces
from hashneg.backends.request import Projection


def projection(matrix: Any, thresholds: Any) -> Projection:
    """The projection x -> W x - c of a float matrix (n_bits, d) and thresholds (n_bits,) or None, both copied."""
    rows = arrays.embeddings(matrix, "matrix")
    n_bits = len(rows)
    if not n_bits:
        raise ValueError(f"matrix must have at least one row, got shape {rows.shape}")
    cuts = np.zeros(n_bits)
    if thresholds is not None:
        if arrays.to_numpy(thresholds, "thresholds").shape != (n_bits,):
            raise ValueError(f"thresholds must have shape ({n_bits},), got {arrays.describe(thresholds)}")
        row = namespaces.of(thresholds).reshape(thresholds, (1, n_bits))
        cuts = arrays.embeddings(row, "thresholds").block(0, 1)[0].astype(np.float64)
    return Projection("dense", cuts, rows.block(0, n_bits).astype(np.float64))
