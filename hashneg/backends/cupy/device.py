"""The device: kernels, launches and memory. The only module that imports CuPy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

try:
    import cupy as cp
except ImportError:  # the table of operations can be read without it; `hashneg.backends()` says that it is missing
    cp = None  # type: ignore[assignment, unused-ignore]

_FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)
NULL = np.uintp(0)  # for a pointer that a kernel need not follow
_PLAIN_SHARED_BYTES = 48 << 10  # more than this a kernel has to ask for


def why_missing() -> str:
    """Why kernels cannot run here, or nothing."""
    try:
        found = cp.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError: no driver, or a driver without a device
        return f"needs a CUDA device and its driver: {' '.join(str(error).split())}"
    return "" if found else "needs a CUDA device: there is a driver, but it shows no device"


@cache
def source(name: str) -> str:
    """The text of a kernel file, with the files it includes in place, so that CuPy's cache knows all of it."""

    def included(match: re.Match[str]) -> str:
        return (_FOLDER / match[1]).read_text(encoding="utf-8")

    return _INCLUDE.sub(included, (_FOLDER / name).read_text(encoding="utf-8"))


@cache
def _module(device: int, file: str, macros: tuple[tuple[str, int], ...]) -> Any:
    options = ("-std=c++17", *(f"-D{name}={value}" for name, value in macros))
    return cp.RawModule(code=source(file), options=options)


def kernel(name: str, file: str | None = None, **macros: int) -> Any:
    """The kernel `name` of a file, called like it where none is named, compiled on the first use on this device."""
    module = _module(number(), file or f"{name}.cu", tuple(sorted(macros.items())))
    return module.get_function(name)


def launch(function: Any, blocks: int | tuple[int, int], threads: int, *arguments: Any, shared: int = 0) -> None:
    """Run a kernel on the current stream. An int argument has to be a NumPy scalar of the parameter's type."""
    grid = blocks if isinstance(blocks, tuple) else (blocks,)
    if not all(grid):
        return
    if shared > _PLAIN_SHARED_BYTES:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, (threads,), arguments, shared_mem=shared)


def empty(shape: Any, dtype: Any) -> Any:
    return cp.empty(shape, np.dtype(dtype))


def upload(values: np.ndarray) -> Any:
    """A copy on the device of an array that hashneg made."""
    return cp.asarray(values)


def on_device(x: Any, dtype: Any, name: str = "an array") -> Any:
    """A checked array as kernels read it: C-contiguous, of this dtype, on the current device."""
    return cp.ascontiguousarray(_here(x, name), dtype=np.dtype(dtype))


def _here(x: Any, name: str) -> Any:
    if not isinstance(x, cp.ndarray):
        raise RuntimeError(
            f"backend 'cupy' computes on CUDA arrays, got {type(x).__module__}.{type(x).__name__}; "
            "move the arrays to the device, or choose another backend"
        )
    if x.device.id != number():
        raise RuntimeError(f"{name} lies on CUDA device {x.device.id}, other arrays of the call on {number()}")
    return x


def rows_in_place(x: Any, name: str) -> tuple[Any, int]:
    """A matrix of bytes as an address and the bytes between its rows, not copied where rows are contiguous."""
    x = _here(x, name)
    if x.shape[1] > 1 and x.strides[1] != 1:
        x = on_device(x, "uint8")
    return x.data, 0 if x.shape[0] == 1 else x.strides[0]


def number() -> int:
    """The number of the current device."""
    return int(cp.cuda.Device().id)


@cache
def architecture(device: int) -> int:
    """Compute capability as one number: 90 for 9.0."""
    return int(cp.cuda.Device(device).compute_capability)


@cache
def limit(name: str, device: int) -> int:
    """A limit of a device, by the name that CuPy gives it."""
    return int(cp.cuda.Device(device).attributes[name])


def free_bytes() -> int:
    """Bytes of device memory that can be had: what the driver has left, and what CuPy's pool holds ready."""
    return int(cp.cuda.runtime.memGetInfo()[0] + cp.get_default_memory_pool().free_bytes())


def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """New memory of the host that the device can copy from while the host goes on."""
    kind, count = np.dtype(dtype), math.prod(shape)
    return np.frombuffer(cp.cuda.alloc_pinned_memory(max(1, count * kind.itemsize)), kind, count).reshape(shape)


def current_stream() -> Any:
    return cp.cuda.get_current_stream()


def new_stream() -> Any:
    """A stream that waits for no other one, unless it is told to."""
    return cp.cuda.Stream(non_blocking=True)


def new_event() -> Any:
    """A mark in a stream that another stream, or the host, can wait for."""
    return cp.cuda.Event(block=True, disable_timing=True)


@contextmanager
def memory(task: str, rows: int, row_bytes: int, other_bytes: int = 0) -> Iterator[None]:
    """Turn CuPy's out-of-memory error into one that says what was needed and how many rows would fit.

    Parameters
    ----------
    task : what is computed, for the message
    rows, row_bytes : rows that the caller could hand over in chunks, and the bytes that one of them needs
    other_bytes : needed whatever the chunk
    """
    try:
        yield
    except cp.cuda.memory.OutOfMemoryError as error:
        free = free_bytes()
        fitting = int(max(0, free - other_bytes) // max(1, row_bytes))
        advice = f"chunks of {min(fitting, rows - 1)} rows would fit" if fitting and rows > 1 else "no chunk would fit"
        raise MemoryError(
            f"{task} of {rows} rows needs {rows * row_bytes + other_bytes} bytes of device memory and {free} are free; "
            f"{advice}"
        ) from error


def filled(shape: Any, dtype: Any, value: int) -> Any:
    return cp.full(shape, value, np.dtype(dtype))


def changed(x: Any, name: str) -> Any:
    """An array that a kernel writes to: it has to be contiguous, since a copy would be lost."""
    if not x.flags.c_contiguous:
        raise ValueError(f"{name} is not C-contiguous, and the result is written to it")
    return x


def floats(x: Any) -> Any:
    """Embeddings of any of the four types as float64 or float32; bfloat16 comes as its bits, uint16."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return x if x.dtype == np.float64 else x.astype(np.float32)
