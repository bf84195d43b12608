"""hashneg's own kernels under ``jit``: XLA calls back with its buffers, on the host or on a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hashneg.adapters.jax import inputs
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import NO_INDEX, Database, Exclusions, Search
from hashneg.cuda_arrays import contiguous, namespace
from hashneg.hamming import TopK
from hashneg.progress import Meter
from hashneg.threads import thread_count

_DLPACK_CUDA = 2


def topk(arrays: dict[str, Any], k: int, search: Search, backend: str) -> TopK:
    """The k nearest rows, by the kernels of the backend that fits where XLA runs.

    Parameters
    ----------
    arrays : dict
        queries, database, query_labels, labels, hidden and allow, checked; all but the first two may be None.
    search : Search, without exclusions

    Raises
    ------
    RuntimeError
        If this JAX has no buffer callbacks.
    """
    try:
        from jax.experimental.buffer_callback import buffer_callback
    except ImportError as error:
        raise RuntimeError(f"backend={backend!r} needs jax.experimental.buffer_callback, which JAX {jax.__version__} "
                           "does not have; update it, or take backend='jax'") from error  # fmt: skip
    shape = len(arrays["queries"]), k
    out = jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, inputs.index_dtype())
    search_buffers = partial(_search, k=k, search=search, backend=backend)
    call = buffer_callback(search_buffers, out, vmap_method="sequential")
    return TopK(*call(arrays))


def _search(context: Any, out: Any, arrays: dict[str, Any], *, k: int, search: Search, backend: str) -> None:
    """Search the buffers of a call, and write to those of its result."""
    on_device = int(out[0].__dlpack_device__()[0]) == _DLPACK_CUDA
    with _stream(context, out[0]) if on_device else nullcontext():
        view = namespace(on_device).asarray
        plain: dict[str, Any] = {name: None if x is None else contiguous(view(x)) for name, x in arrays.items()}
        queries, n = plain["queries"], len(plain["database"])
        request = replace(search, exclusions=_exclusions(plain, n))
        run = implementation("topk", choose_backend(backend, on_device))
        with Meter(False, len(queries), "") as meter:
            found = run(Database(plain["database"], search.n_bits), queries, k, request, thread_count(None), meter)
        for buffer, values in zip(out, found, strict=True):
            view(buffer)[...] = values


def _exclusions(plain: dict[str, Any], n: int) -> Exclusions:
    """The masks of a call as a backend takes them: ids sorted, and -1 for those that are no row."""
    query_labels, labels, hidden, allow = (plain[name] for name in ("query_labels", "labels", "hidden", "allow"))
    if labels is not None:
        query_labels, labels = query_labels.astype(np.int64), labels.astype(np.int64)
    if hidden is not None:
        rows = hidden.astype(np.int64)
        hidden = contiguous(np.sort(np.where((rows >= 0) & (rows < n), rows, np.int64(NO_INDEX)), axis=1))
    packed = allow is not None and allow.dtype == np.uint8
    if allow is not None:
        allow = (allow[None] if allow.ndim == 1 else allow).view(np.uint8)
    return Exclusions(None, query_labels, labels, hidden, allow, packed)


def _stream(context: Any, buffer: Any) -> AbstractContextManager[Any]:
    """The device of the buffer, and the stream on which XLA orders what comes before and behind."""
    cupy = import_module("cupy")
    number = int(buffer.__dlpack_device__()[1])
    stack = ExitStack()
    stack.enter_context(cupy.cuda.Device(number))
    stack.enter_context(cupy.cuda.ExternalStream(context.stream, number))
    return stack
