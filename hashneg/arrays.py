"""The array boundary: any framework's array comes in, the same framework's array goes out.

Everything inside hashneg sees NumPy views of the caller's memory. No framework is imported
here: a framework is used only if an array of its type was passed, so it is loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hashneg import checks, cuda_arrays

_FRAMEWORKS = {
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "tensorflow": "tensorflow",
    "cupy": "cupy",
}
_ARRAYS = {"numpy": ("ndarray",), "torch": ("Tensor",), "jax": ("Array",), "tensorflow": ("Tensor", "Variable")}
_DLPACK_CPU = {1, 3}  # kDLCPU, kDLCUDAHost
SAFE_PEAK = 1e120
_CACHED_NUMBERS = 1 << 15  # scaled at a time, so that their float64 copy stays in the cache
FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")


def framework_of(x: Any) -> str | None:
    """Name the framework of an array: one of the known ones, "dlpack" for others, None for no array."""
    for base in type(x).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _FRAMEWORKS:
            name = _FRAMEWORKS[root]
            module = sys.modules.get(name)  # whoever made x has imported it
            known = [getattr(module, kind) for kind in _ARRAYS.get(name, ()) if module]
            return name if isinstance(x, tuple(known)) or name not in _ARRAYS else None  # None: a scalar, a module, ...
    return "dlpack" if hasattr(x, "__dlpack__") and not isinstance(x, type) else None


def describe(x: Any) -> str:
    """Say what an array is, for error messages: type, shape, dtype and device."""
    if framework_of(x) is None:
        return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
    parts = [framework_of(x) or "", f"shape {tuple(getattr(x, 'shape', ()))}"]
    parts.append(f"dtype {str(getattr(x, 'dtype', '?')).removeprefix('torch.')}")
    device = getattr(x, "device", None)
    if device is None and hasattr(x, "__dlpack_device__"):
        device = f"DLPack device {tuple(int(part) for part in x.__dlpack_device__())}"
    return f"{parts[0]} array of {', '.join(parts[1:])} on {device or 'cpu'}"


def _no_device_backend(x: Any, name: str) -> RuntimeError:
    return RuntimeError(
        f"{name} is a {describe(x)}, and no backend of this hashneg runs on that device; "
        f"move it to the CPU first, or see hashneg.backends()"
    )


def _unreadable(x: Any, name: str, error: Exception) -> TypeError:
    return TypeError(f"{name}, a {describe(x)}, cannot be read as a NumPy array: {error}")


def _from_numpy(x: np.ndarray, name: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first, for example with {name}.filled()")
    if isinstance(x, np.matrix):
        x = np.asarray(x)
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def _from_torch(x: Any, name: str) -> np.ndarray:
    torch = sys.modules["torch"]
    if x.layout is not torch.strided:
        raise TypeError(f"{name} is a {x.layout} tensor; make it dense with {name}.to_dense()")
    if x.device.type != "cpu":
        raise _no_device_backend(x, name)
    plain = x.detach().resolve_conj().resolve_neg()
    if x.dtype is torch.bfloat16:
        return plain.view(torch.int16).numpy().view(np.uint16)
    try:
        return plain.numpy()
    except (RuntimeError, TypeError) as error:  # float8 and other dtypes that NumPy lacks
        raise _unreadable(x, name, error) from error


def _from_jax(x: Any, name: str) -> np.ndarray:
    jax = sys.modules["jax"]
    if isinstance(x, jax.core.Tracer):
        raise TypeError(f"{name} is a JAX tracer: hashneg's array functions run outside jit, vmap and grad")
    if any(device.platform != "cpu" for device in x.devices()):
        raise _no_device_backend(x, name)
    try:
        values = np.asarray(x)
    except (RuntimeError, TypeError) as error:  # random keys; arrays that were donated
        raise _unreadable(x, name, error) from error
    return _from_numpy(values, name)


def _from_tensorflow(x: Any, name: str) -> np.ndarray:
    tf = sys.modules["tensorflow"]
    if isinstance(x, tf.Variable):
        x = x.value()
    if not hasattr(x, "numpy"):
        raise TypeError(f"{name} is a symbolic TensorFlow tensor: call hashneg outside tf.function")
    if "CPU" not in x.device.upper():
        raise _no_device_backend(x, name)
    if x.dtype == tf.bfloat16:
        x = tf.bitcast(x, tf.uint16)
    if x.dtype in (tf.bool, tf.string):  # DLPack carries neither from TensorFlow
        return x.numpy()
    try:
        return np.from_dlpack(x)
    except tf.errors.OpError as error:  # dtypes that DLPack lacks
        raise _unreadable(x, name, error) from error


def _from_dlpack(x: Any, name: str) -> np.ndarray:
    if hasattr(x, "__dlpack_device__") and int(x.__dlpack_device__()[0]) not in _DLPACK_CPU:
        raise _no_device_backend(x, name)
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise _unreadable(x, name, error) from error


_READERS = {
    "numpy": _from_numpy,
    "torch": _from_torch,
    "jax": _from_jax,
    "tensorflow": _from_tensorflow,
    "cupy": _from_dlpack,
    "dlpack": _from_dlpack,
}


def is_bfloat16(x: Any) -> bool:
    return "bfloat16" in str(getattr(x, "dtype", ""))


def to_numpy(x: Any, name: str) -> np.ndarray:
    """View a CPU array of any framework as NumPy, without a copy where the layout allows it.

    bfloat16 comes back as uint16 holding its bits; see `Embeddings`. The view may be read-only and
    is never written to.

    Raises
    ------
    TypeError
        If `x` is not an array (lists are not taken for one).
    RuntimeError
        If `x` lies on a device for which there is no backend.
    """
    framework = framework_of(x)
    if framework is None:
        raise TypeError(f"{name} must be an array (NumPy, PyTorch, JAX, TensorFlow or any with __dlpack__), "
                        f"got {describe(x)}")  # fmt: skip
    return _READERS[framework](x, name)


def is_on_device(x: Any) -> bool:
    """Whether an array lies on a CUDA device."""
    return cuda_arrays.is_on_device(x, framework_of(x))


def to_plain(x: Any, name: str) -> Any:
    """View an array as NumPy or, where it lies on a CUDA device, as CuPy; without a copy where the layout allows it.

    Raises
    ------
    TypeError
        If `x` is not an array.
    RuntimeError
        If `x` lies on a device that hashneg has no backend for, or CuPy is missing.
    """
    framework = framework_of(x)
    if framework is not None and cuda_arrays.is_on_device(x, framework) and cuda_arrays.are_usable():
        return cuda_arrays.from_device(x, framework, name)
    return to_numpy(x, name)


def current_stream(x: Any) -> AbstractContextManager[Any]:
    """Within it, work on a device goes to the device of `x` and the caller's current stream; nothing for the host."""
    return cuda_arrays.current_stream(x, framework_of(x))


def integers(x: Any, name: str, shape: tuple[int | None, ...], like: Any = None) -> Any:
    """View an integer array (or a sequence of ints) as int64; None in `shape` takes any length.

    `like` is another array of the call: where it lies on a device, so must `x`, and a sequence goes there.
    """
    sequence = isinstance(x, (list, tuple, range))
    if sequence:
        try:
            x = np.asarray(x, dtype=None if len(x) else np.int64)
        except ValueError:
            raise ValueError(f"{name} has rows of different lengths; pad them with -1") from None
    values = x if sequence else beside(x, name, like)
    if values.dtype.kind not in "iu" or is_bfloat16(x):
        fix = ""
        if "label" in name and values.dtype.kind not in "fb":
            fix = "; turn names into integers with numpy.unique(labels, return_inverse=True)[1], both sides in one call"
        raise TypeError(f"{name} must hold integers, got {describe(x)}{fix}")
    wanted = "(" + ", ".join("m" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
    if values.ndim != len(shape) or any(s not in (None, v) for s, v in zip(shape, values.shape, strict=True)):
        raise ValueError(f"{name} must have shape {wanted}, got {describe(x)}")
    if values.dtype == np.uint64 and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds values above 2**63 - 1")
    values = values.astype(np.int64, copy=False)
    return cuda_arrays.upload(values) if sequence and is_on_device(like) else values


def beside(x: Any, name: str, like: Any) -> Any:
    """`to_numpy`; or `to_plain` where `like`, another array of the call, lies on a device: `x` has to be there, too."""
    if not is_on_device(like):
        return to_numpy(x, name)
    if not is_on_device(x):
        raise RuntimeError(f"{name} is a {describe(x)}, but other arrays of the call lie on a CUDA device; "
                           "all arrays of a call share one device")  # fmt: skip
    return to_plain(x, name)


def exporter(like: Any) -> Callable[[Any], Any]:
    """Return a function that turns a fresh array into one of the framework and device of `like`.

    It is a NumPy array, or a CuPy array where `like` lies on a CUDA device.
    """
    if isinstance(like, list) and like:  # parts that are read as one, stacked by rows
        like = like[0]
    framework = framework_of(like)
    if cuda_arrays.is_on_device(like, framework):
        return lambda array: cuda_arrays.to_framework(array, like, framework)
    if framework == "torch":
        torch = sys.modules["torch"]
        return lambda array: torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if framework == "jax":
        return _jax_exporter(like)
    if framework == "tensorflow":
        return _tensorflow_exporter(like)
    if framework == "dlpack" and hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack
    return lambda array: array


def _jax_exporter(like: Any) -> Callable[[np.ndarray], Any]:
    jax = sys.modules["jax"]

    def export(array: np.ndarray) -> Any:
        if array.dtype == np.int64 and not jax.config.jax_enable_x64:
            limit = np.iinfo(np.int32).max
            if array.size and int(array.max()) > limit:
                raise ValueError(f"an index above {limit} does not fit JAX's int32; set jax_enable_x64")
            array = array.astype(np.int32)
        elif array.dtype == np.float64 and not jax.config.jax_enable_x64:
            array = array.astype(np.float32)
        return jax.device_put(array, next(iter(like.devices())))

    return export


def _tensorflow_exporter(like: Any) -> Callable[[np.ndarray], Any]:
    tf = sys.modules["tensorflow"]

    def export(array: np.ndarray) -> Any:
        with tf.device(like.device):  # else TensorFlow picks an accelerator where there is one
            return tf.convert_to_tensor(array)

    return export


class Embeddings:
    """The rows of an (n, d) float matrix, read block by block.

    Parameters
    ----------
    x : array or list of arrays
        float16, bfloat16, float32 or float64; several arrays are read as one, stacked by rows.
        Memory maps stay on disk: a block is all that is read.
    name : str
        The argument's name in error messages.

    Attributes
    ----------
    shape : (int, int)
    dtype : numpy dtype of the blocks: float64 for float64 input, else float32
    """

    def __init__(self, x: Any, name: str) -> None:
        sources = x if isinstance(x, list) and x and framework_of(x[0]) else [x]
        self.name = name
        self.normalized = False
        self._parts: list[tuple[np.ndarray, bool]] = []
        for source in sources:
            # a byte-swapped memory map is turned block by block, not as a whole
            swapped = isinstance(source, np.memmap) and source.dtype.kind == "f" and not source.dtype.isnative
            part = source if swapped else to_numpy(source, name)
            bfloat16 = is_bfloat16(source)
            if not bfloat16 and part.dtype.name not in FLOAT_DTYPES:
                raise TypeError(f"{name} must be one of {', '.join(FLOAT_DTYPES)}, got {describe(source)}")
            if part.ndim != 2 or part.shape[1] == 0:
                raise ValueError(f"{name} must have shape (n, d) with d > 0, got {describe(source)}")
            self._parts.append((part, bfloat16))
        widths = {part.shape[1] for part, _ in self._parts}
        if len(widths) > 1:
            raise ValueError(f"{name} mixes rows of {sorted(widths)} dimensions")
        self._starts = np.cumsum([0, *(len(part) for part, _ in self._parts)])
        self.shape = (int(self._starts[-1]), widths.pop())
        self.dtype = np.dtype(np.float64 if any(p.dtype.name == "float64" for p, _ in self._parts) else np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def itemsize(self) -> int:
        """Bytes of one stored number."""
        return max(part.dtype.itemsize for part, _ in self._parts)

    def normalize(self) -> Embeddings:
        """The same rows scaled to unit length, still read block by block."""
        other = object.__new__(Embeddings)
        other.__dict__.update(self.__dict__, normalized=True)
        return other

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` as a C-contiguous array of `dtype`, checked to be finite."""
        pieces = []
        for (part, bfloat16), first in zip(self._parts, self._starts[:-1], strict=True):
            low, high = max(start - first, 0), min(stop - first, len(part))
            if low < high:
                pieces.append(self._floats(part[low:high], bfloat16))
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty((0, self.shape[1]), self.dtype)])
        if checks.values_are_checked():
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                first = start + int(np.argmin(finite))
                raise ValueError(f"{self.name} holds NaN or infinity, first in row {first}")
        return unit_rows(rows) if self.normalized else rows

    def take(self, ids: np.ndarray) -> np.ndarray:
        """The rows of `ids` (int64, each in 0..n-1) as given, C-contiguous and of `dtype`, not checked again."""
        if len(self._parts) == 1:
            part, bfloat16 = self._parts[0]
            return self._floats(part[ids], bfloat16)
        rows = np.empty((len(ids), self.shape[1]), self.dtype)
        home = np.searchsorted(self._starts, ids, side="right") - 1
        for number, (part, bfloat16) in enumerate(self._parts):
            here = np.flatnonzero(home == number)
            rows[here] = self._floats(part[ids[here] - self._starts[number]], bfloat16)
        return rows

    @property
    def in_memory(self) -> np.ndarray | None:
        """The matrix itself where it lies in memory as C-contiguous `dtype`, else None."""
        part = self._parts[0][0]
        ready = part.dtype == self.dtype and part.flags.c_contiguous and not isinstance(part, np.memmap)
        return part if len(self._parts) == 1 and ready else None

    def blocks(self, rows: int) -> Any:
        """Iterate over (start, block) in steps of `rows`."""
        for start in range(0, len(self), rows):
            yield start, self.block(start, min(start + rows, len(self)))

    def _floats(self, rows: np.ndarray, bfloat16: bool) -> np.ndarray:
        if bfloat16:  # a bfloat16 is the upper half of a float32
            rows = (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.ascontiguousarray(rows, dtype=self.dtype)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length in float64 arithmetic; rows of zeros stay zero."""
    scaled = np.empty_like(rows)
    step = max(1, _CACHED_NUMBERS // rows.shape[1])
    for start in range(0, len(rows), step):
        part = rows[start : start + step].astype(np.float64)
        if rows.dtype == np.float64:
            part = _tamed(part)
        length = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
        scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        np.multiply(part, scale, out=scaled[start : start + step], casting="same_kind")
    return scaled


def _tamed(rows: np.ndarray) -> np.ndarray:
    """float64 rows, those whose squares overflow or vanish divided by their largest number."""
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    extreme = (peak > SAFE_PEAK) | ((peak > 0) & (peak < 1 / SAFE_PEAK))
    return np.where(extreme, rows / np.where(extreme, peak, 1), rows) if extreme.any() else rows


def embeddings(x: Any, name: str) -> Embeddings:
    """Check an embedding matrix at the boundary; an `Embeddings` passes through."""
    if isinstance(x, (list, tuple)) and x and framework_of(x[0]) and np.ndim(x[0]) != 2:
        raise TypeError(f"{name} must be an (n, d) array, got a {type(x).__name__} of rows; join them with stack()")
    return x if isinstance(x, Embeddings) else Embeddings(x, name)
