"""Who may be returned: the exclusions as arrays on the device, and the test that kernels make."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg.backends.numba_cuda.device import cuda, upload, view
from hashneg.backends.request import Exclusions

_NOTHING = {"query_ids": (0,), "query_labels": (0,), "database_labels": (0,), "exclude": (0, 0), "allow": (0, 0)}


def on_device(exclusions: Exclusions) -> tuple[Any, ...]:
    """The last arguments of `is_excluded`. An exclusion that is not made is an empty array."""
    arrays = []
    for name, shape in _NOTHING.items():
        values = getattr(exclusions, name)
        if values is None or 0 in values.shape:
            arrays.append(upload(np.empty(shape, np.uint8 if name == "allow" else np.int64)))
        else:
            arrays.append(view(values))
    return *arrays, exclusions.allow_is_packed


@cuda.jit(device=True)
def is_excluded(q, row, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed):
    """Whether query q may not return a row."""
    if allow.shape[0] > 0:
        line = q if allow.shape[0] > 1 else 0
        if allow_is_packed:
            allowed = (allow[line, row >> 3] >> (row & 7)) & 1
        else:
            allowed = allow[line, row]
        if allowed == 0:
            return True
    if query_ids.shape[0] > 0 and query_ids[q] == row:
        return True
    if query_labels.shape[0] > 0 and query_labels[q] == database_labels[row]:
        return True
    low, high = 0, exclude.shape[1]
    while low < high:  # binary search in a sorted line
        middle = (low + high) // 2
        if exclude[q, middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < exclude.shape[1] and exclude[q, low] == row
