"""Representativeness: mean distance of an item to all the others, in time linear in their number."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import arrays, namespaces
from hashneg.codes import Codes
from hashneg.namespaces import numerics

_TILE_ROWS = 8192


def representativeness(embeddings: Any) -> Any:
    """Mean squared distance of each row to all others, after L2 normalisation.

    ``r_j = 2 N / (N - 1) - 2 f_j . (sum_k f_k) / (N - 1)``: O(N d), since the sum is the same for all.

    Parameters
    ----------
    embeddings : array, float (..., N, d)
        Unit vectors after normalisation; zero vectors are taken for ones at a right angle to all.

    Returns
    -------
    array, float (..., N)
        0 for N = 1.

    Raises
    ------
    TypeError, ValueError
        If `embeddings` is not as described.

    Notes
    -----
    UnReMix's third score, in our reconstruction: see `unremix`.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.representativeness(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    array([1., 1., 2.])
    """
    xp, x = namespaces.floats("embeddings", embeddings)
    if len(x.shape) < 2:
        raise ValueError(f"embeddings must have shape (..., N, d), got {arrays.describe(embeddings)}")
    f = numerics.unit_rows(x)
    n = int(x.shape[-2])
    if n == 1:
        return xp.zeros_like(f[..., 0])
    return 2 * (n - xp.sum(f * xp.sum(f, axis=-2, keepdims=True), axis=-1)) / (n - 1)


def code_representativeness(codes: Any) -> Any:
    """Mean Hamming distance of each code to all others: ``sum over bits of (bit ? N - c : c) / (N - 1)``.

    c counts the ones of a bit over all codes, so that N codes cost O(N n_bits) and not O(N^2 n_bits).

    Parameters
    ----------
    codes : Codes, or array, uint8 (N, width)

    Returns
    -------
    array, float64 (N,)
        float32 where the framework has no float64. 0 for N = 1.

    Raises
    ------
    TypeError, ValueError
        If `codes` are no codes.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> hn.weights.code_representativeness(np.array([[0b000], [0b001], [0b111]], np.uint8))
    array([2. , 1.5, 2.5])
    """
    data = codes.data if isinstance(codes, Codes) else codes
    packed = arrays.to_numpy(data, "codes")
    if packed.ndim != 2 or packed.dtype != np.uint8:
        raise TypeError(f"codes must be Codes or a uint8 array (N, width), got {arrays.describe(codes)}")
    n = len(packed)
    ones = np.zeros(packed.shape[1] * 8, np.int64)
    for start in range(0, n, _TILE_ROWS):
        ones += _bits(packed[start : start + _TILE_ROWS]).sum(axis=0, dtype=np.int64)
    distance = np.empty(n)
    for start in range(0, n, _TILE_ROWS):
        distance[start : start + _TILE_ROWS] = _bits(packed[start : start + _TILE_ROWS]) @ (n - 2.0 * ones)
    return arrays.exporter(data)((distance + ones.sum()) / max(n - 1, 1))


def _bits(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1, bitorder="little")
