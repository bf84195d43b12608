"""The linear map of a fitted quantizer as one matrix, which every framework can multiply with."""

from __future__ import annotations

import numpy as np

from hashneg.quantize import BinaryQuantizer, NotFittedError


def dense_rotation(quantizer: BinaryQuantizer) -> tuple[np.ndarray, np.ndarray]:
    """R and c of z = R x - c, both float64: (n_bits, d) and (n_bits,); NotFittedError before `fit`."""
    if not isinstance(quantizer, BinaryQuantizer):
        raise TypeError(f"quantizer must be a BinaryQuantizer, got {type(quantizer).__name__} {quantizer!r}")
    if quantizer.dim is None:
        raise NotFittedError("quantizer must be fitted: its rotation and thresholds become constants of the model")
    thresholds = quantizer.thresholds
    rotated_axes = quantizer.project(np.eye(quantizer.dim)) + thresholds
    return np.ascontiguousarray(rotated_axes.T), thresholds
