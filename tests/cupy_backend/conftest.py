"""The cupy backend without a GPU: its modules, imported anew over the stand-in for CuPy."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.requirements import missing

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]  # the modules beside this one; benchmarks

import stand_in  # noqa: E402

from hashneg import backends  # noqa: E402

MODULES = ("device", "layout", "scanner", "search", "masks", "distances", "projection", "similarity", "streaming")

#: Devices of which each takes another path: compute capability and bytes of shared memory of a block.
DEVICES = {
    "tensor": ("90", 232448),
    "sliced": ("120", 101376),
    "sliced, old": ("75", 65536),
    "not staged": ("75", 8192),
}


@pytest.fixture
def emulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """A function that gives the backend's modules on a device of `DEVICES`."""
    if shutil.which(stand_in.COMPILER) is None:
        missing(f"there is no C++ compiler {stand_in.COMPILER!r}, which the emulation of CUDA needs")
    monkeypatch.setattr(stand_in, "CACHE", request.config.cache.mkdir("cuda-emulation"))
    monkeypatch.setattr(stand_in.RawKernel, "seed", 0)
    monkeypatch.setitem(sys.modules, "cupy", stand_in)

    package = importlib.import_module("hashneg.backends.cupy")

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith(f"{package.__name__}.")]:
            del sys.modules[name]
            vars(package).pop(name.removeprefix(f"{package.__name__}."), None)

    def modules(kind: str = "tensor") -> Any:
        capability, shared = DEVICES[kind]
        monkeypatch.setattr(stand_in.Device, "compute_capability", capability)
        monkeypatch.setitem(stand_in.Device.attributes, "MaxSharedMemoryPerBlockOptin", shared)
        forget()
        loaded = {name: importlib.import_module(f"hashneg.backends.cupy.{name}") for name in MODULES}
        return SimpleNamespace(cp=stand_in, **loaded)

    yield modules
    forget()


@pytest.fixture
def gpu(emulated: Callable[..., Any]) -> Iterator[Any]:
    """The emulated device as the public functions find it; modules that need no public function have their own."""
    caches = backends._why_missing, backends._automatic_on_device, backends.implementation
    modules = emulated()
    for cached in caches:
        cached.cache_clear()
    yield modules
    for cached in caches:
        cached.cache_clear()
