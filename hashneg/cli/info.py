"""``hashneg info``: what this installation can do."""

from __future__ import annotations

import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hashneg
from hashneg.backends import available, choose_backend
from hashneg.cli.console import Console
from hashneg.threads import thread_count

_PACKAGES = ("numpy", "numba", "scipy", "safetensors", "pyarrow", "ml-dtypes")


def run_info() -> int:
    """Print the table."""
    rows = [
        ("hashneg", f"{hashneg.__version__}, in {Path(hashneg.__file__).parent}"),
        ("Python", f"{platform.python_version()} on {platform.platform()}"),
        *((name, _version(name)) for name in _PACKAGES),
    ]
    rows += [(f"backend {name}", "available" if can_run else f"missing: {why}") for name, can_run, why in available()]
    forced = os.environ.get("HASHNEG_BACKEND")
    rows += [
        ("backend in use", choose_backend() + (f" (HASHNEG_BACKEND={forced})" if forced else "")),
        ("threads", f"{thread_count(None)} of {os.cpu_count()} cores"),
        ("compiled code", _cache_folder()),
    ]
    Console().table("hashneg", rows)
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cache_folder() -> str:
    """Where Numba keeps compiled kernels, as Numba itself tells."""
    try:
        module = importlib.import_module("hashneg.backends.cpu.scan")
    except ImportError as error:
        return f"none: {error}"
    folders = {value.stats.cache_path for value in vars(module).values() if hasattr(value, "stats")}
    return ", ".join(sorted(str(folder) for folder in folders if folder)) or "not kept: no folder can be written to"
