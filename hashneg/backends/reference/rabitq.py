"""The estimate of RaBitQ for given (query, row) pairs, in float64."""

from __future__ import annotations

import numpy as np

from hashneg.backends.request import NO_INDEX


def rabitq_scores(
    z: np.ndarray, shifts: np.ndarray, reaches: np.ndarray, codes: np.ndarray, norms: np.ndarray, factors: np.ndarray,
    ids: np.ndarray, share: float, threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Scores and bounds of query i and row ids[i, j], float32 (m, p); NaN where `ids` is -1.

    Parameters
    ----------
    z : float32 (m, n_bits), queries less the mean, rotated
    shifts : float64 (m,), the part of the score that is the query's own; NaN for a query of zeros
    reaches : float64 (m,), bounds are proportional to it
    codes, norms, factors : uint8 (n, width), float32 (n,) and (n,), of the rows; the norm of a row of zeros is NaN
    share : float, sum of size^2 / n_bits^2 over the rotation's blocks of orthonormal rows
    """
    scores, bounds = np.full(ids.shape, np.nan, np.float32), np.full(ids.shape, np.nan, np.float32)
    n_bits = z.shape[1]
    for i, row_ids in enumerate(ids):
        real = row_ids != NO_INDEX
        rows = row_ids[real]
        signs = 2.0 * np.unpackbits(codes[rows], axis=1, count=n_bits, bitorder="little") - 1.0
        norm, factor = norms[rows].astype(np.float64), factors[rows].astype(np.float64)
        estimate = factor * (signs * z[i]).sum(axis=1) - norm**2 / 2 + shifts[i]
        inverse = np.divide(factor, norm, out=np.zeros_like(norm), where=norm > 0)
        bound = reaches[i] * norm * np.sqrt(np.maximum(n_bits * inverse**2 - share, 0.0))
        is_zeros = np.isnan(estimate)
        scores[i, real], bounds[i, real] = np.where(is_zeros, 0.0, estimate), np.where(is_zeros, 0.0, bound)
    return scores, bounds
