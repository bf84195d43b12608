"""Arrays of CUDA devices: every framework's come in as CuPy arrays of the same memory, and go out as they came.

Inside hashneg they take the place of NumPy arrays; NumPy's functions hand them on to CuPy. A framework is used only
if an array of its type was passed, so it is loaded already; CuPy is imported for the first array of a device.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib import import_module
from typing import Any

import numpy as np

_DLPACK_CUDA = {2, 13}  # kDLCUDA, kDLCUDAManaged


def is_on_device(x: Any, framework: str | None) -> bool:
    """Whether an array of this framework lies on a CUDA device."""
    if framework == "cupy":
        return True
    if framework == "torch":
        return x.device.type == "cuda"
    if framework == "jax":
        if isinstance(x, sys.modules["jax"].core.Tracer):  # lies nowhere, and is refused where it is read
            return False
        return hasattr(x, "devices") and all(device.platform in ("cuda", "gpu") for device in x.devices())
    if framework == "tensorflow":
        return hasattr(x, "device") and "GPU" in str(x.device).upper()
    if framework == "dlpack" and hasattr(x, "__dlpack_device__"):
        return int(x.__dlpack_device__()[0]) in _DLPACK_CUDA
    return False


def are_usable() -> bool:
    """Whether CuPy is here and finds a driver and a device."""
    try:
        return import_module("cupy").cuda.runtime.getDeviceCount() > 0
    except Exception:  # ImportError, or CUDARuntimeError from the driver
        return False


def from_device(x: Any, framework: str, name: str) -> Any:
    """The CuPy array of the same memory; work that is queued for it on its framework's stream comes first.

    bfloat16 comes as uint16 holding its bits.

    Raises
    ------
    TypeError
        If the array cannot be handed over.
    """
    bfloat16 = "bfloat16" in str(getattr(x, "dtype", ""))
    if framework == "cupy":
        return x.view(np.uint16) if bfloat16 else x
    cupy = import_module("cupy")
    if framework == "torch":
        x = x.detach()
    try:
        return cupy.from_dlpack(_bits(x, framework)).view(np.uint16) if bfloat16 else cupy.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}, a {type(x).__name__}, cannot be read as a CuPy array: {error}") from error


def _bits(x: Any, framework: str) -> Any:
    """bfloat16, which not every CuPy reads, as 16-bit integers."""
    if framework == "torch":
        return x.view(sys.modules["torch"].int16)
    if framework == "jax":
        return sys.modules["jax"].lax.bitcast_convert_type(x, np.uint16)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].bitcast(x, np.uint16)
    return x


def to_framework(x: Any, like: Any, framework: str | None) -> Any:
    """A fresh CuPy array as one of the framework of `like`, of the same memory."""
    if framework == "torch":
        return sys.modules["torch"].from_dlpack(x)
    if framework == "jax":
        jax = sys.modules["jax"]
        if not jax.config.jax_enable_x64:  # rows of a device are fewer than 2**31 in all cases but huge codes
            x = x.astype(np.int32) if x.dtype == np.int64 else x
            x = x.astype(np.float32) if x.dtype == np.float64 else x
        return jax.dlpack.from_dlpack(x)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].experimental.dlpack.from_dlpack(x.__dlpack__())
    if framework == "dlpack" and hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack(x)
    return x


def current_stream(x: Any, framework: str | None) -> AbstractContextManager[Any]:
    """Within it, CuPy works on the device of `x` and, for PyTorch, on the caller's current stream.

    The other frameworks have no stream of the caller's: DLPack orders their work before and behind.
    """
    if not (is_on_device(x, framework) and are_usable()):
        return nullcontext()
    cupy = import_module("cupy")
    stack = ExitStack()
    if framework == "torch":
        stream = sys.modules["torch"].cuda.current_stream(x.device)
        stack.enter_context(cupy.cuda.Device(x.device.index))
        stack.enter_context(cupy.cuda.ExternalStream(stream.cuda_stream, x.device.index))
    elif framework == "cupy":
        stack.enter_context(x.device)
    else:
        stack.enter_context(from_device(x, framework or "", "the array").device)
    return stack


def namespace(on_device: bool) -> Any:
    """The module whose functions make plain arrays there: CuPy, or NumPy for the host."""
    return import_module("cupy") if on_device else np


def contiguous(x: Any, dtype: Any = None) -> Any:
    """`numpy.ascontiguousarray`, or CuPy's for an array of a device."""
    return namespace(not isinstance(x, np.ndarray)).ascontiguousarray(x, dtype)


def upload(x: np.ndarray) -> Any:
    """A copy on the current device of an array that hashneg made."""
    return import_module("cupy").asarray(x)


def beside(x: np.ndarray, like: Any) -> Any:
    """An array that hashneg made, where the plain array `like` lies."""
    return x if isinstance(like, np.ndarray) else upload(x)


def download(x: Any) -> np.ndarray:
    """A plain array as one of the host: NumPy's as it is, CuPy's in a copy."""
    return x if isinstance(x, np.ndarray) else x.get()


def rows_on_host(x: Any, ids: np.ndarray) -> np.ndarray:
    """Copies on the host of some rows of a plain array."""
    return x[ids] if isinstance(x, np.ndarray) else x[upload(ids)].get()


def count_ones(x: Any) -> Any:
    """How many bits of each byte of a plain array are 1, uint8; looked up on a device, since not every CuPy counts."""
    if isinstance(x, np.ndarray):
        return np.bitwise_count(x)
    return upload(np.bitwise_count(np.arange(256, dtype=np.uint8)))[x]
