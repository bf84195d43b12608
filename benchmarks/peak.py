"""Peak memory of a process, by watching /proc/PID/status."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_SECONDS_BETWEEN_SAMPLES = 0.005


class Sampler(threading.Thread):
    """Reads the memory of a process until it ends or `stop` is called, and keeps the highest values."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._stopped = threading.Event()
        self.peak = {"RssAnon": 0, "RssFile": 0}
        self.samples = 0

    def run(self) -> None:
        while self.sample() and not self._stopped.wait(_SECONDS_BETWEEN_SAMPLES):
            pass

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def sample(self) -> bool:
        try:
            text = self._status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        for name, before in self.peak.items():
            found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
            if found is None:  # a process that has ended but was not waited for has no memory
                return False
            self.peak[name] = max(before, 1024 * int(found[1]))
        self.samples += 1
        return True


def resident() -> int:
    """Bytes of anonymous memory of this process, after the C library has given back what is free; 0 without /proc."""
    with suppress(AttributeError, OSError, TypeError):  # it is not glibc
        ctypes.CDLL(None).malloc_trim(0)
    now = Sampler(os.getpid())
    now.sample()
    return now.peak["RssAnon"]


def peak_of(call: Callable[[], Any], base: int | None = None) -> tuple[Any, int]:
    """What the call returns, and the bytes of anonymous memory at its peak above `base` (what is there before it)."""
    before = resident()
    during = Sampler(os.getpid())
    during.start()
    try:
        result = call()
    finally:
        during.stop()
        during.sample()
    return result, max(during.peak["RssAnon"] - (before if base is None else base), 0)
