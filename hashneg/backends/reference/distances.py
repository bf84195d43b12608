"""Distances between packed codes."""

from __future__ import annotations

import numpy as np


def distances(a: np.ndarray, b: np.ndarray, metric: str = "hamming", threads: int = 1) -> np.ndarray:
    """All distances, int32 (na, nb); "hamming" is popcount(a XOR b), "projected" popcount(a AND NOT b)."""
    out = np.empty((len(a), len(b)), np.int32)
    for i, code in enumerate(a):
        differing = code ^ b if metric == "hamming" else code & ~b
        out[i] = np.bitwise_count(differing).sum(axis=1, dtype=np.int32)
    return out
