"""Where an object's arrays lie: on the host, or on a CUDA device as arrays of one framework."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from hashneg import arrays, cuda_arrays

Method = TypeVar("Method", bound=Callable[..., Any])


def place_of(x: Any) -> Any:
    """A small array of the framework and device of `x`, to be like instead of it; NumPy's for any array of the host."""
    if arrays.framework_of(x) is None:
        raise TypeError(f"where arrays lie is told by an array that lies there, got {arrays.describe(x)}")
    if not arrays.is_on_device(x):
        return np.empty(1, np.uint8)
    arrays.to_plain(x, "like")  # refuses a device that nothing runs on
    with arrays.current_stream(x):
        return arrays.exporter(x)(cuda_arrays.namespace(True).zeros(1, np.uint8))


def where_it_lies(method: Method) -> Method:
    """Run a method of an object with a `_place` on the device of that, in the caller's current stream."""

    @wraps(method)
    def run(self: Any, *args: Any, **named: Any) -> Any:
        with arrays.current_stream(self._place):
            return method(self, *args, **named)

    return run  # type: ignore[return-value]
