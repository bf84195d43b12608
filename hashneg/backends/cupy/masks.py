"""Who may be returned, as the last arguments of a kernel; see exclusions.cuh."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg.backends.cupy import device
from hashneg.backends.request import Exclusions


def arguments(exclusions: Exclusions, visited: Any = None, blocks: Any = None) -> tuple[Any, ...]:
    """EXCLUSION_PARAMETERS. `visited` uint8 (nq, n_blocks) and `blocks` int32 (n,), of a clustered database."""

    def whole(name: str) -> Any:
        values = getattr(exclusions, name)
        return device.NULL if values is None else device.on_device(values, "int64")

    exclude, allow, stride = device.NULL, device.NULL, 0
    if exclusions.exclude is not None and exclusions.exclude.shape[1]:
        exclude = whole("exclude")
    if exclusions.allow is not None and exclusions.allow.size:
        allow, stride = device.rows_in_place(exclusions.allow)
    return (
        whole("query_ids"), whole("query_labels"), whole("database_labels"), exclude,
        np.int64(0 if exclusions.exclude is None else exclusions.exclude.shape[1]),
        allow, np.int64(stride), np.int32(exclusions.allow_is_packed),
        device.NULL if visited is None else visited, device.NULL if blocks is None else blocks,
        np.int64(0 if visited is None else visited.shape[1]),
    )  # fmt: skip
