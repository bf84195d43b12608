"""Embeddings with structure at several distances, small and quick to make."""

from __future__ import annotations

import numpy as np


def nested(n: int = 3000, d: int = 64, seed: int = 0) -> np.ndarray:
    """Unit rows in clusters in clusters, around a common direction; float32 (n, d)."""
    rng = np.random.default_rng(seed)
    rows = 0.8 * rng.standard_normal(d)
    for level, groups in enumerate((5, 40, 300)):
        rows = rows + 0.7**level * rng.standard_normal((groups, d))[rng.integers(0, groups, n)]
    rows = rows + 0.4 * rng.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
