"""Planted faults: proof that a proof can fail."""

from __future__ import annotations

import inspect
from types import ModuleType


def faulty_copy(original: ModuleType, sound: str, faulty: str) -> ModuleType:
    """A module anew, with one piece of its source exchanged for another."""
    source = inspect.getsource(original)
    assert sound in source, f"{original.__name__} has no {sound!r}"
    module = ModuleType(original.__name__)
    exec(compile(source.replace(sound, faulty), f"<faulty {original.__name__}>", "exec"), module.__dict__)
    return module
