"""Device memory for hashneg's kernels from PyTorch's allocator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch


@contextmanager
def use_torch_allocator() -> Iterator[None]:
    """Within it, CuPy takes device memory from PyTorch's caching allocator, so that both share one pool.

    Without it CuPy keeps a pool of its own, and memory that one library holds ready is lost to the other. Arrays made
    within it may be used after it; they return their memory to PyTorch. It holds for the thread that enters it.

    Raises
    ------
    RuntimeError
        If CuPy is not installed.

    Notes
    -----
    Memory is taken for CuPy's current stream, which in a call of hashneg with tensors is PyTorch's. Like a tensor, an
    array that another stream uses has to be kept until that stream has done so.

    Examples
    --------
    >>> import hashneg as hn
    >>> from hashneg.adapters.torch import use_torch_allocator
    >>> with use_torch_allocator():  # doctest: +SKIP
    ...     found = hn.hamming_topk(queries, rows, k=100)
    """
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise RuntimeError("use_torch_allocator is for CuPy, which is not installed; see hashneg.backends()") from error

    def allocate(size: int, device: int) -> int:
        stream = cupy.cuda.get_current_stream().ptr
        try:
            return torch.cuda.caching_allocator_alloc(size, device, stream) if size else 0
        except torch.cuda.OutOfMemoryError as error:
            held = torch.cuda.memory_reserved(device)
            raise cupy.cuda.memory.OutOfMemoryError(size, held) from error

    def release(pointer: int, device: int) -> None:
        if pointer:
            torch.cuda.caching_allocator_delete(pointer)

    with cupy.cuda.using_allocator(cupy.cuda.PythonFunctionAllocator(allocate, release).malloc):
        yield
