"""A stand-in for the small part of CuPy that hashneg uses: arrays of the host that behave as arrays of a device.

An array cannot be read by NumPy, fresh memory is filled with a pattern, and kernels are the .cu files compiled as
C++ behind `emulation.h`. A launch is checked as no GPU does it: number and types of the arguments, contiguity, limits
of the grid and of shared memory. Streams run at once or, where they are told to, as late as a device may.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

HEADER = Path(__file__).with_name("emulation.h")
COMPILER = os.environ.get("CXX", "g++")
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(')
_POISON = 0xA5


class Stream:
    """Work that runs in order: at once; or, where `late`, when something waits for it."""

    late = False  # of new streams
    ptr = 0
    null: ClassVar[Stream]

    def __init__(self, non_blocking: bool = True) -> None:
        assert non_blocking  # another one would wait for the null stream, which is not imitated
        self._queue: deque[Callable[[], None]] = deque()
        self._done = 0

    def put(self, work: Callable[[], None]) -> None:
        self._queue.append(work)
        if not self.late:
            self.synchronize()

    def mark(self) -> int:
        return self._done + len(self._queue)

    def run(self, mark: int) -> None:
        while self._done < mark:
            self._done += 1
            self._queue.popleft()()

    def synchronize(self) -> None:
        self.run(self.mark())

    def wait_event(self, event: Event) -> None:
        if event.place is not None:
            stream, mark = event.place  # as it is now: the event may be recorded again
            self.put(lambda: stream.run(mark))


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.place: tuple[Stream, int] | None = None

    def record(self, stream: Stream) -> None:
        self.place = stream, stream.mark()

    def synchronize(self) -> None:
        if self.place is not None:
            self.place[0].run(self.place[1])


Stream.null = Stream()


class ndarray:
    """A strided view of memory that NumPy owns."""

    __module__ = "cupy"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        _refuse_host_arrays(inputs)
        return ndarray(np.asarray(getattr(ufunc, method)(*map(_plain, inputs), **named)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in _FUNCTIONS:
            return NotImplemented
        _refuse_host_arrays(_leaves(args))
        plain = [[*map(_plain, arg)] if isinstance(arg, list) else _plain(arg) for arg in args]
        return ndarray(np.asarray(function(*plain, **kwargs)))

    def __init__(self, values: np.ndarray, number: int = 0) -> None:
        self.memory, self.number = values, number

    @property
    def values(self) -> np.ndarray:
        """The numbers, when all work on the current stream is done."""
        Stream.null.synchronize()
        return self.memory

    def __array__(self, *_: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    shape = property(lambda self: self.memory.shape)
    dtype = property(lambda self: self.memory.dtype)
    strides = property(lambda self: self.memory.strides)
    size = property(lambda self: self.memory.size)
    ndim = property(lambda self: self.memory.ndim)
    flags = property(lambda self: self.memory.flags)
    nbytes = property(lambda self: self.memory.nbytes)
    T = property(lambda self: ndarray(self.memory.T))
    data = property(lambda self: MemoryPointer(self.memory))
    device = property(lambda self: Device(self.number))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def set(self, host: np.ndarray, stream: Stream) -> None:
        """Copy without waiting: what `host` holds when the copy runs."""
        assert is_pinned(host), "the device would not copy this memory while the host goes on"
        assert (host.shape, host.dtype) == (self.shape, self.dtype)
        assert host.flags.c_contiguous
        assert self.flags.c_contiguous
        stream.put(lambda: np.copyto(self.memory, host))

    def get(self) -> np.ndarray:
        return self.values.copy()

    def __len__(self) -> int:
        return len(self.memory)

    def __int__(self) -> int:
        return int(self.values)

    def __invert__(self) -> ndarray:
        return ndarray(~self.values)

    def tolist(self) -> list[Any]:
        return self.values.tolist()

    def __float__(self) -> float:
        return float(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self.memory[_plain(key)][...], self.number)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("non-scalar numpy.ndarray cannot be used for fill")
        self.values[_plain(key)] = _plain(value)

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"the stand-in's arrays have no {name!r}")
        return lambda *args, **named: ndarray(np.asarray(getattr(self.values, name)(*map(_plain, args), **named)))


_METHODS = ("all", "any", "argmax", "astype", "copy", "cumsum", "max", "min", "ravel", "reshape", "sum", "view")
_FUNCTIONS = (
    np.all, np.any, np.argsort, np.argwhere, np.concatenate, np.count_nonzero, np.cumsum, np.flatnonzero, np.nanmax,
    np.nanmin, np.nansum, np.quantile, np.searchsorted, np.sort, np.std, np.take_along_axis, np.where,
)  # fmt: skip


def _leaves(args: Any) -> list[Any]:
    """Arguments, and the members of those that are sequences."""
    return [leaf for arg in args for leaf in (arg if isinstance(arg, (tuple, list)) else [arg])]


def _operator(name: str) -> Any:
    def apply(self: ndarray, other: Any) -> ndarray:
        _refuse_host_arrays([other])
        return ndarray(np.asarray(getattr(self.values, name)(_plain(other))))

    return apply


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "mod", "truediv", "rtruediv", "matmul", "ge", "gt", "le",
              "lt", "eq", "ne", "and", "or", "xor", "mod", "lshift", "rshift", "iadd", "isub"):  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _refuse_host_arrays(values: Any) -> None:
    if any(isinstance(value, np.ndarray) and value.ndim for value in values):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")


class MemoryPointer:
    def __init__(self, owner: np.ndarray) -> None:
        self.owner = owner
        self.ptr = owner.ctypes.data


def _plain(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_plain, x))
    return x.values if isinstance(x, ndarray) else x


class PythonFunctionAllocator:
    """Memory from a function, given back to another when the last array of it is gone."""

    def __init__(self, allocate: Callable[[int, int], int], release: Callable[[int, int], None]) -> None:
        self._allocate, self._release = allocate, release

    def malloc(self, size: int) -> np.ndarray:
        pointer = self._allocate(size, 0)
        memory = (ctypes.c_uint8 * size).from_address(pointer)
        weakref.finalize(memory, self._release, pointer, 0)
        return np.frombuffer(memory, np.uint8)


@contextmanager
def using_allocator(allocator: Callable[[int], np.ndarray]) -> Iterator[None]:
    _allocators.append(allocator)
    try:
        yield
    finally:
        _allocators.pop()


_allocators: list[Callable[[int], np.ndarray]] = []  # the last one is in use


def empty(shape: Any, dtype: Any = np.float64) -> ndarray:
    values = np.empty(shape, dtype)
    if _allocators and values.nbytes:
        values = _allocators[-1](values.nbytes).view(dtype).reshape(values.shape)
    values.reshape(-1).view(np.uint8)[:] = _POISON
    return ndarray(values)


def full(shape: Any, value: Any, dtype: Any) -> ndarray:
    return ndarray(np.full(shape, value, dtype))


def zeros(shape: Any, dtype: Any = np.float64) -> ndarray:
    return ndarray(np.zeros(shape, dtype))


def ones(shape: Any, dtype: Any = np.float64) -> ndarray:
    return ndarray(np.ones(shape, dtype))


def arange(*bounds: int) -> ndarray:
    return ndarray(np.arange(*bounds))


def asarray(values: Any, dtype: Any = None) -> ndarray:
    if isinstance(values, ndarray) and dtype in (None, values.dtype):
        return values
    return ndarray(np.array(_plain(values), dtype))


def ascontiguousarray(x: ndarray, dtype: Any = None) -> ndarray:
    same = x.flags.c_contiguous and (dtype is None or x.dtype == dtype)
    return x if same else ndarray(np.ascontiguousarray(x.values, dtype))


class RawModule:
    def __init__(self, code: str, options: tuple[str, ...] = ()) -> None:
        self._library = _library(code, options)

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self._library, name)


class RawKernel:
    """One kernel, and how often it ran."""

    launches: ClassVar[dict[str, int]] = {}
    seed = 0  # of the order of threads; 0: by number

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.name, self.max_dynamic_shared_size_bytes = name, 48 << 10
        self._run = getattr(library, f"run_{name}")
        self._run.restype = ctypes.c_char_p
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_long]
        signature = getattr(library, f"signature_of_{name}")
        signature.restype = ctypes.c_char_p
        self._types = signature().decode().split()

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0
    ) -> None:
        shape = np.array([*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))], np.int64)
        if shape.min() < 1 or shape[1] > 65535 or shape[2] > 65535 or shape[0] >= 2**31:
            raise ValueError(f"{self.name}: invalid grid {grid} or block {block}")
        allowed = min(self.max_dynamic_shared_size_bytes, Device.attributes["MaxSharedMemoryPerBlockOptin"])
        if shared_mem > allowed:
            raise ValueError(f"{self.name}: {shared_mem} bytes of shared memory, {allowed} allowed")
        if len(args) != len(self._types):
            raise TypeError(f"{self.name} takes {len(self._types)} arguments, got {len(args)}")
        cells = [self._cell(i, *pair) for i, pair in enumerate(zip(args, self._types, strict=True))]
        pointers = (ctypes.c_void_p * len(cells))(*[cell.ctypes.data for cell in cells])
        RawKernel.launches[self.name] = RawKernel.launches.get(self.name, 0) + 1
        counts, seed = shape.astype(np.uint32), RawKernel.seed

        def run(*_keep_alive: Any) -> None:
            if failure := self._run(counts.ctypes.data, shared_mem, pointers, seed):
                raise RuntimeError(f"{self.name}: {failure.decode()}")

        Stream.null.put(partial(run, args, cells))

    def _cell(self, i: int, value: Any, kind: str) -> np.ndarray:
        """The eight or fewer bytes that hold an argument."""
        where = f"{self.name}, argument {i} ({kind})"
        if kind.startswith("p"):
            if isinstance(value, MemoryPointer):
                return np.array(value.ptr, np.uint64)
            if isinstance(value, np.uintp) and value == 0:
                return np.array(0, np.uint64)
            if not isinstance(value, ndarray):
                raise TypeError(f"{where}: {type(value)} is no array")
            if not value.flags.c_contiguous:
                raise TypeError(f"{where}: the array is not contiguous")
            if kind != "p*" and kind[1:] != f"{value.dtype.kind}{value.dtype.itemsize}":
                raise TypeError(f"{where}: the array holds {value.dtype}")
            return np.array(value.memory.ctypes.data, np.uint64)
        if not isinstance(value, np.generic) or kind != f"{value.dtype.kind}{value.dtype.itemsize}":
            raise TypeError(f"{where}: got {type(value)}")
        return np.array(value)


def _library(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """Compile a kernel file, once for each content and set of options."""
    macros = [option for option in options if option.startswith("-D")]
    text = f'#include "{HEADER}"\n#line 1 "kernel.cu"\n{code}\n' + "".join(
        f"EMULATED_KERNEL({name})\n" for name in _KERNEL.findall(code)
    )
    command = [COMPILER, "-std=c++17", "-O1", "-w", "-fno-strict-aliasing", "-fPIC", "-shared", *FLAGS, *macros]
    digest = hashlib.sha256("\n".join([*command, HEADER.read_text(), text]).encode()).hexdigest()[:24]
    target = CACHE / f"{digest}.so"
    lock = target.with_suffix(".lock")
    while not target.exists():
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except FileExistsError:  # another test process compiles it
            if time.time() - lock.stat().st_mtime > 300:
                lock.unlink(missing_ok=True)
            time.sleep(0.05)
            continue
        try:
            source, fresh = target.with_suffix(".cpp"), target.with_suffix(".new")
            source.write_text(text)
            done = subprocess.run([*command, str(source), "-o", str(fresh)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[:4000]}")
            os.replace(fresh, target)
        finally:
            lock.unlink(missing_ok=True)
    return ctypes.CDLL(str(target))


CACHE = Path()  # where libraries are kept; the tests set it
FLAGS: list[str] = []  # of the compiler, beside the usual ones


class Device:
    compute_capability = "90"
    attributes = {"MaxSharedMemoryPerBlockOptin": 232448, "MultiProcessorCount": 3}  # noqa: RUF012

    def __init__(self, number: int | None = None) -> None:
        self.id = number or 0

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class OutOfMemoryError(MemoryError):
    """What CuPy raises where the pool cannot grow."""


class PinnedMemory(bytearray):
    """Memory of the host that a device copies from while the host goes on."""


def is_pinned(x: Any) -> bool:
    while isinstance(x, np.ndarray):
        x = x.base
    return isinstance(getattr(x, "obj", x), PinnedMemory)


cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Event=Event,
    get_current_stream=lambda: Stream.null,
    PythonFunctionAllocator=PythonFunctionAllocator,
    using_allocator=using_allocator,
    ExternalStream=lambda pointer, number: nullcontext(),
    alloc_pinned_memory=lambda size: PinnedMemory(bytes([_POISON]) * size),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 30, 2 << 30)),
)


def get_default_memory_pool() -> Any:
    return SimpleNamespace(free_bytes=lambda: 0)
