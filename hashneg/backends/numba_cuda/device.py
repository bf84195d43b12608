"""The device: launches, memory, and the callers' arrays. The only module that imports `cuda`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from numba import cuda

#: Whether kernels run in the simulator, on arrays of the host. Numba reads the variable when it is imported.
SIMULATED = bool(int(os.environ.get("NUMBA_ENABLE_CUDASIM") or 0))
THREADS = 8 if SIMULATED else 128  # of a block; the simulator starts a thread of the system for each


def why_missing() -> str:
    """Why kernels cannot run here, or nothing."""
    if SIMULATED:
        return ""
    if find_spec("numba_cuda") is None:
        return "needs the package numba-cuda (pip install hashneg[cuda12] or hashneg[cuda13])"
    try:
        found = len(cuda.gpus)
    except Exception as error:  # CudaSupportError, or what the driver's library raises while it is loaded
        return f"needs a CUDA driver: {' '.join(str(error).split()).rstrip(': ')}"
    return "" if found else "needs a CUDA device: there is a driver, but it shows no device"


def number() -> int:
    """The number of the device that kernels run on."""
    return 0 if SIMULATED else cuda.get_current_device().id


def stream() -> Any:
    """The stream that the caller's framework works on, so that kernels come after what made their input."""
    pointer = _stream_pointer()
    return cuda.external_stream(pointer) if pointer else 0


def _stream_pointer() -> int:
    if SIMULATED:
        return 0
    if (cupy := sys.modules.get("cupy")) is not None:
        return cupy.cuda.get_current_stream().ptr
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        return torch.cuda.current_stream().cuda_stream
    return 0


def launch(kernel: Any, count: int, *arguments: Any) -> None:
    """Run `kernel` in `count` threads or a few more, numbered by ``cuda.grid(1)``."""
    launch_blocks(kernel, -(-count // THREADS), *arguments)


def launch_blocks(kernel: Any, count: int, *arguments: Any) -> None:
    """Run `kernel` in `count` blocks of threads, numbered by ``cuda.blockIdx.x``."""
    if count:
        kernel[count, THREADS, stream()](*arguments)


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """New memory on the device."""
    return cuda.device_array(shape, np.dtype(dtype), stream=stream())


def upload(values: Any) -> Any:
    """An array that hashneg made, copied to the device unless it lies there."""
    if not isinstance(values, np.ndarray):
        return view(values)
    return cuda.to_device(np.ascontiguousarray(values), stream=stream())


def download(values: Any) -> np.ndarray:
    """A copy on the host of an array that hashneg made."""
    current = stream()
    copy = values.copy_to_host(stream=current)
    if current:
        current.synchronize()
    return copy


def view(x: Any) -> Any:
    """A caller's array as kernels take it: its own memory, whatever its strides; in the simulator a copy."""
    if SIMULATED:
        return upload(x)
    if not hasattr(x, "__cuda_array_interface__"):
        raise RuntimeError(
            f"backend 'numba_cuda' computes on CUDA arrays, got {type(x)}; move the arrays to the device, or choose "
            "another backend"
        )
    if number_of(x) != number():
        raise RuntimeError(f"an array lies on CUDA device {number_of(x)}, the others on {number()}")
    made_on = x.__cuda_array_interface__.get("stream")  # None where the framework orders its work by itself
    return cuda.as_cuda_array(x, sync=made_on not in (None, _stream_pointer() or 1))  # 1 is the default stream


def number_of(x: Any) -> int:
    """The number of the device that an array lies on."""
    return int(x.__dlpack_device__()[1]) if not SIMULATED and hasattr(x, "__dlpack_device__") else number()


def result(x: Any) -> Any:
    """A finished array: NumPy's in the simulator; on a device CuPy's where CuPy is loaded, else Numba's."""
    if SIMULATED:
        return download(x)
    return x if (cupy := sys.modules.get("cupy")) is None else cupy.asarray(x)


@contextmanager
def changing(x: Any, name: str) -> Iterator[Any]:
    """A caller's array as kernels write to it."""
    interface = x.__array_interface__ if isinstance(x, np.ndarray) else x.__cuda_array_interface__
    if interface["data"][1]:
        raise ValueError(f"{name} is read-only, and the result is written to it")
    seen = view(x)
    yield seen
    if SIMULATED:
        x[...] = download(seen)


@contextmanager
def memory(task: str, rows: Any, row_bytes: int, other_bytes: int = 0) -> Iterator[None]:
    """Work on the device where `rows` lies, and say what was needed and what would fit where memory runs out.

    Parameters
    ----------
    task : what is computed, for the message
    rows, row_bytes : an array that the caller could hand over in chunks, and the bytes that one row of it needs
    other_bytes : needed whatever the chunk
    """
    with cuda.gpus[number_of(rows)]:
        try:
            yield
        except Exception as error:
            if "OUT_OF_MEMORY" not in str(error):  # the driver's error has no type of its own
                raise
            free = cuda.current_context().get_memory_info().free
            fitting = min(int(max(0, free - other_bytes) // max(1, row_bytes)), len(rows) - 1)
            advice = f"chunks of {fitting} rows would fit" if fitting > 0 else "no chunk would fit"
            raise MemoryError(
                f"{task} of {len(rows)} rows needs {len(rows) * row_bytes + other_bytes} bytes of device memory and "
                f"{free} are free; {advice}"
            ) from error
