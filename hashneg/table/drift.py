"""How far a model has moved away from the codes it left in a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hashneg import arrays, theory
from hashneg.backends.request import NO_DISTANCE


class Drift(NamedTuple):
    """How far fresh codes of a sample lie from those in the table.

    Attributes
    ----------
    angle : float
        Mean estimated angle between the stored and the fresh embeddings, in radians; NaN where no row of the sample
        has a code.
    angles : array, float32 (m,)
        The estimate of each row, NaN where it has no code.
    distances : array, int32 (m,)
        Hamming distances, 2**31 - 1 where a row has no code.
    """

    angle: float
    angles: Any
    distances: Any


def measure(stored: np.ndarray, fresh: np.ndarray, known: np.ndarray, n_bits: int, like: Any) -> Drift:
    """The drift from `stored` to `fresh` codes, uint8 (m, width), in the rows that `known` marks.

    A bit differs with probability angle/pi, so that pi H / n_bits estimates the angle without bias, and so does the
    mean over rows.
    """
    distances = np.full(len(known), NO_DISTANCE, np.int32)
    distances[known] = np.bitwise_count(stored[known] ^ fresh[known]).sum(axis=1, dtype=np.int32)
    angles = np.full(len(known), np.nan)
    angles[known] = theory.angle(1 - distances[known] / n_bits)
    mean = float(angles[known].mean()) if known.any() else float("nan")
    export = arrays.exporter(like)
    return Drift(mean, export(angles.astype(np.float32)), export(distances))
