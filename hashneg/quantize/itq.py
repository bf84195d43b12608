"""Iterative quantization: a rotation learned so that signs lose least (Gong & Lazebnik, CVPR 2011)."""

from __future__ import annotations

import numpy as np

from hashneg.quantize.rotations import orthogonal

ITERATIONS = 50


def learn(sample: np.ndarray, n_bits: int, seed: int) -> np.ndarray:
    """R (n_bits, d): the first principal axes, turned so that ||sign(V) - V||_F is small.

    Parameters
    ----------
    sample : float64 (n, d), centered
    n_bits : int, at most d
    """
    _, vectors = np.linalg.eigh(sample.T @ sample)
    axes = vectors[:, ::-1][:, :n_bits]
    projected = sample @ axes
    rotation = orthogonal(n_bits, n_bits, seed)
    for _ in range(ITERATIONS):
        rotation = _procrustes(projected, rotation)
    return np.ascontiguousarray((axes @ rotation).T)


def _procrustes(projected: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The rotation that brings `projected` closest to the signs it has now."""
    signs = np.where(projected @ rotation >= 0, 1.0, -1.0)
    left, _, right = np.linalg.svd(projected.T @ signs)
    return left @ right


def quantization_loss(projected: np.ndarray, rotation: np.ndarray) -> float:
    """||sign(V) - V||_F^2 of V = projected @ rotation; no iteration raises it."""
    z = projected @ rotation
    return float(np.sum((np.where(z >= 0, 1.0, -1.0) - z) ** 2))
