"""The table of backends: which function computes an operation on which backend.

A backend module holds only arithmetic on checked arrays. `hashneg.backends()` tells which
backends exist on this machine.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from hashneg import checks

_log = logging.getLogger("hashneg")

#: (operation, backend) -> "module:function". A missing pair means that the backend cannot do it.
TABLE: dict[tuple[str, str], str] = {
    (operation, backend): f"hashneg.backends.{backend}.{module}:{operation}"
    for operation, module in {
        "add_columns": "projection",
        "project": "projection",
        "encode": "projection",
        "distances": "distances",
        "prepare": "search",
        "write": "search",
        "topk": "search",
        "range_search": "search",
        "pair_scores": "similarity",
        "update_best": "similarity",
    }.items()
    for backend in ("reference", "cpu", "cupy", "numba_cuda")
}
#: Of the host alone: ids of batches are there, whatever device is searched on, and so are numbers of rows.
TABLE |= {
    (operation, backend): f"hashneg.backends.{backend}.{module}:{operation}"
    for operation, module in {"compose_batches": "batches", "rabitq_scores": "rabitq"}.items()
    for backend in ("reference", "cpu")
}
#: The database is on the host, the queries on a device.
TABLE["stream_topk", "cupy"] = "hashneg.backends.cupy.streaming:stream_topk"

_NEEDS = {"reference": "numpy", "cpu": "numba", "cupy": "cupy", "numba_cuda": "numba"}
_INSTALL = {"cupy": "hashneg[cuda12] or hashneg[cuda13]"}  # where the package has another name than the module
_PREFERENCE = ("cpu", "reference")
_ON_DEVICE = ("cupy", "numba_cuda")  # each has a module `device` with a function `why_missing`
_NAMES = ("auto", *_PREFERENCE, *_ON_DEVICE)


class Backend(NamedTuple):
    """One row of `hashneg.backends()`."""

    name: str
    available: bool
    why: str


@cache
def _why_missing(name: str) -> str:
    needed = _NEEDS[name]
    try:
        import_module(needed)
    except ModuleNotFoundError as error:
        return f"needs {needed}, but {error.name} is not installed (pip install {_INSTALL.get(needed, error.name)})"
    except Exception as error:  # numba refuses to be imported beside a NumPy that is too new for it
        return f"needs {needed}, which cannot be imported: {error}"
    return import_module(f"hashneg.backends.{name}.device").why_missing() if name in _ON_DEVICE else ""


def available() -> list[Backend]:
    """List every backend, whether it can run here, and why not if it cannot.

    Returns
    -------
    list of Backend
        (name, available, why), in order of preference.

    Examples
    --------
    >>> import hashneg as hn
    >>> [b.name for b in hn.backends() if b.available][:2]
    ['cpu', 'reference']
    """
    return [Backend(name, not _why_missing(name), _why_missing(name)) for name in (*_PREFERENCE, *_ON_DEVICE)]


@lru_cache(maxsize=1)
def _automatic() -> str:
    for name in _PREFERENCE:
        why = _why_missing(name)
        if not why:
            return name
        _log.warning("backend %r %s; falling back to a slower one", name, why)
    raise RuntimeError("no backend can run here; see hashneg.backends()")


@lru_cache(maxsize=1)
def _automatic_on_device() -> str:
    for name in _ON_DEVICE:
        if not _why_missing(name):
            return name
    reasons = "; ".join(f"{name!r} {_why_missing(name)}" for name in _ON_DEVICE)
    raise RuntimeError(f"the arrays lie on a CUDA device, and no backend can run there: {reasons}")


def choose_backend(backend: str = "auto", on_device: bool = False) -> str:
    """Return the backend to use: the argument, else ``HASHNEG_BACKEND``, else the fastest one that fits the arrays.

    `on_device` says that they lie on a CUDA device.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    RuntimeError
        If the backend that was asked for cannot run here.
    """
    origin = "backend"
    if checks.choice(backend, origin, _NAMES) == "auto":
        origin = "HASHNEG_BACKEND"
        backend = checks.choice(os.environ.get(origin) or "auto", origin, _NAMES)
    if backend == "auto":
        return _automatic_on_device() if on_device else _automatic()
    if on_device and backend not in _ON_DEVICE:
        raise RuntimeError(
            f"{origin}={backend!r} computes on arrays of the host, but the arrays lie on a CUDA device; move them, or "
            "leave the choice of the backend to 'auto'"
        )
    if why := _why_missing(backend):
        raise RuntimeError(f"{origin}={backend!r} {why}; see hashneg.backends()")
    return backend


@cache
def implementation(operation: str, backend: str) -> Callable[..., Any]:
    """Import and return the function that computes `operation` on a chosen backend."""
    module, _, function = TABLE[operation, backend].partition(":")
    return getattr(import_module(module), function)


class _CallableModule(ModuleType):
    """Makes ``hashneg.backends()`` work although ``hashneg.backends`` is this package."""

    def __call__(self) -> list[Backend]:
        return available()


sys.modules[__name__].__class__ = _CallableModule
