"""Vectors at given angles, turned at random, and quantizers to look at them through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import hashneg as hn


def frames(rng: np.random.Generator, n: int, d: int, size: int) -> np.ndarray:
    """n draws of `size` orthonormal vectors in d dimensions, Haar-distributed; float64 (n, size, d)."""
    vectors = rng.standard_normal((n, size, d))
    for i in range(size):
        for j in range(i):
            vectors[:, i] -= np.sum(vectors[:, i] * vectors[:, j], axis=1, keepdims=True) * vectors[:, j]
        vectors[:, i] /= np.linalg.norm(vectors[:, i], axis=1, keepdims=True)
    return vectors


def pairs(rng: np.random.Generator, n: int, d: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """n pairs of unit vectors at an angle, float64 (n, d) each."""
    first, second = np.moveaxis(frames(rng, n, d, 2), 1, 0)
    return first, np.cos(angle) * first + np.sin(angle) * second


def triples(
    rng: np.random.Generator, n: int, d: int, near: float, far: float, turn: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A query, an item at angle `near` and one at angle `far`, `turn` apart around the query; and the angle between."""
    query, across, up = np.moveaxis(frames(rng, n, d, 3), 1, 0)
    first = np.cos(near) * query + np.sin(near) * across
    second = np.cos(far) * query + np.sin(far) * (np.cos(turn) * across + np.sin(turn) * up)
    cosine = np.cos(near) * np.cos(far) + np.sin(near) * np.sin(far) * np.cos(turn)
    return query, first, second, float(np.arccos(np.clip(cosine, -1, 1)))


def fitted(
    n_bits: int, d: int, rotation: str, mean: np.ndarray | None = None, seed: int = 0, dtype: type = np.float64
) -> hn.BinaryQuantizer:
    """A quantizer whose thresholds are those of `mean`, or 0: fitted on rows around it that cancel out."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((max(d, 8), d))
    rows = np.concatenate([rows, -rows]) + (0 if mean is None else mean)
    center = None if mean is None else "mean"
    return hn.BinaryQuantizer(n_bits, rotation=rotation, center=center, seed=seed).fit(rows.astype(dtype))


def differing(quantizer: hn.BinaryQuantizer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which bits of row i of x and row i of y differ, bool (n, n_bits)."""
    return quantizer.encode(x).to_signs() != quantizer.encode(y).to_signs()


def damaged(quantizer: hn.BinaryQuantizer, **parts: np.ndarray) -> hn.BinaryQuantizer:
    """The quantizer with other `thresholds` or another `matrix`: a planted fault."""
    quantizer._projection = replace(quantizer._fitted(), **parts, cache={})
    return quantizer
