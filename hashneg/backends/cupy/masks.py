"""Who may be returned, as the last arguments of a kernel; see exclusions.cuh."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg.backends.cupy import device
from hashneg.backends.request import Exclusions


def arguments(exclusions: Exclusions) -> tuple[Any, ...]:
    """EXCLUSION_PARAMETERS."""

    def whole(name: str) -> Any:
        values = getattr(exclusions, name)
        return device.NULL if values is None else device.on_device(values, "int64", name)

    exclude, allow, stride = device.NULL, device.NULL, 0
    if exclusions.exclude is not None and exclusions.exclude.shape[1]:
        exclude = whole("exclude")
    if exclusions.allow is not None and exclusions.allow.size:
        allow, stride = device.rows_in_place(exclusions.allow, "allow")
    return (
        whole("query_ids"), whole("query_labels"), whole("database_labels"), exclude,
        np.int64(0 if exclusions.exclude is None else exclusions.exclude.shape[1]),
        allow, np.int64(stride), np.int32(exclusions.allow_is_packed),
    )  # fmt: skip
