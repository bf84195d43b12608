"""Exact similarities of embeddings: of given pairs, and the best of all pairs."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device, masks
from hashneg.backends.cupy.projection import TYPES
from hashneg.backends.request import Exclusions

_THREADS = 128


def pair_scores(anchors: Any, rows: Any, which: Any, cosine: bool, threads: int = 1) -> Any:
    """Similarity of anchor i with rows[which[i, j]], float32 (m, p); NaN where `which` is -1."""
    with device.memory("similarities", len(which), 4 * which.shape[1]):
        scores = device.empty(which.shape, "float32")
        pairs = which.shape[0] * which.shape[1]
        function = device.kernel(
            "pair_scores", "similarity.cu", ANCHOR=TYPES[anchors.dtype.name], ROW=TYPES[rows.dtype.name]
        )
        device.launch(
            function, ceil(pairs * 32 / _THREADS), _THREADS, device.on_device(anchors, anchors.dtype),
            device.on_device(rows, rows.dtype), np.int64(len(rows)), np.int64(rows.shape[1]),
            device.on_device(which, "int64"), np.int64(pairs), np.int64(which.shape[1]), np.int32(cosine), scores,
        )  # fmt: skip
    return scores


def update_best(
    best: Any, found: Any, queries: Any, database: Any, first: int, exclusions: Exclusions, threads: int = 1
) -> None:
    """Merge the rows first, first+1, ... of the database into the best (nq, k) so far, in place.

    `best` and `found` are sorted by (-score, index) and padded with NaN and -1.
    """
    nq, k = best.shape
    with device.memory("an exact search", len(database), best.dtype.itemsize * nq):
        scores = device.floats(queries).astype(best.dtype) @ device.floats(database).astype(best.dtype).T
        function = device.kernel("update_best", "best.cu", TYPE=TYPES[best.dtype.name])
        device.launch(
            function, ceil(nq * 32 / _THREADS) if len(database) else 0, _THREADS, device.changed(best, "best"),
            device.changed(found, "found"), np.int64(nq), np.int64(k), device.on_device(scores, best.dtype),
            np.int64(len(database)), np.int64(first), *masks.arguments(exclusions),
        )  # fmt: skip
