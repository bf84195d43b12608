"""How far a model has moved away from the codes it left in a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hashneg import arrays, cuda_arrays
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


def measure(stored: Any, fresh: Any, known: Any, n_bits: int, like: Any) -> Drift:
    """The drift from `stored` to `fresh` codes, uint8 (m, width), in the rows that `known` marks.

    A bit differs with probability angle/pi, so that pi H / n_bits estimates the angle without bias, and so does the
    mean over rows. Of a device, the host reads the mean.
    """
    differing = cuda_arrays.count_ones(stored ^ fresh).sum(axis=1, dtype=np.int32)
    angles = np.pi * differing / n_bits
    count, total = known.sum(), np.where(known, angles, 0.0).sum()
    mean = float(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    export = arrays.exporter(like)
    angles = np.where(known, angles, np.nan).astype(np.float32)
    return Drift(mean, export(angles), export(np.where(known, differing, np.int32(NO_DISTANCE))))
