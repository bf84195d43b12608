"""Distances between packed codes."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device
from hashneg.backends.cupy.layout import THREADS, pack

_QUERIES_EACH = 16  # that a thread compares its row with
_MOST_PARTS = 65535  # of a grid's second dimension


def distances(a: Any, b: Any, metric: str = "hamming", threads: int = 1) -> Any:
    """All distances, int32 (na, nb); "hamming" is popcount(a XOR b), "projected" popcount(a AND NOT b)."""
    words = ceil(a.shape[1] / 4)
    with device.memory("distances", len(a), 4 * (words + len(b)), 4 * words * len(b)):
        out = device.empty((len(a), len(b)), "int32")
        queries, rows = pack(a, words), pack(b, words)
        each = max(_QUERIES_EACH, ceil(len(a) / _MOST_PARTS))
        device.launch(
            device.kernel("distances"), (ceil(len(b) / THREADS), ceil(len(a) / each)), THREADS, queries.words,
            np.int64(len(a)), rows.words, np.int64(len(b)), np.int32(words), np.int32(metric == "projected"),
            np.int32(each), out,
        )  # fmt: skip
    return out
