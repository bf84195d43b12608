"""Random numbers that depend on a seed and a position alone, never on the order of the calls."""

from __future__ import annotations

import numpy as np


def mix64(values: np.ndarray, seed: int) -> np.ndarray:
    """Hash of (seed, value), uint64: two rounds of the SplitMix64 finaliser."""
    with np.errstate(over="ignore"):
        x = values.astype(np.uint64) + np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        for _ in range(2):
            x = x + np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return x
