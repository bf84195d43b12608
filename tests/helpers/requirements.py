"""What a test needs and this machine may lack: it is skipped with the reason, and fails under ``HASHNEG_CI=1``."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from types import ModuleType

import pytest

#: Packages that have no wheels for some Python that hashneg supports: missing there is no failure.
NO_WHEELS = {"tensorflow": sys.version_info >= (3, 14)}


def missing(reason: str, *, excused: bool = False) -> None:
    """Skip the test that calls this; fail it where nothing may be missing."""
    if os.environ.get("HASHNEG_CI") == "1" and not excused:
        pytest.fail(f"HASHNEG_CI=1 asks for every test to run, but {reason}")
    pytest.skip(reason)


def need(module: str) -> ModuleType:
    """Import a third-party module, deaf to what it warns of while it is imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing(f"{error.name} is not installed", excused=NO_WHEELS.get(module.partition(".")[0], False))
        raise
