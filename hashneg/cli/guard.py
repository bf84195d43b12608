"""Exit codes: errors become one line and code 2, Ctrl-C becomes 130, and neither leaves a partial file."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EFBIG: "the file grew over the size limit"}
if hasattr(errno, "EDQUOT"):
    _NO_ROOM[errno.EDQUOT] = "the disk quota is used up"
_SIGNALS = ("SIGTERM", "SIGHUP")


class CommandError(Exception):
    """Bad input or an impossible request, told in one line that names the option and the fix."""


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal other than Ctrl-C's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def stop_code(stop: KeyboardInterrupt) -> int:
    """The exit code a shell expects: 128 + the signal's number."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, so that temporary files go; ignored signals stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    replaced = [number for number in numbers if before[number] is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])


def explain(error: Exception) -> str | None:
    """One line for an error a user can cause; None for a fault of the program."""
    if isinstance(error, OSError):
        where = f" while writing {error.filename}" if error.filename else ""
        if error.errno in _NO_ROOM:
            return f"{_NO_ROOM[error.errno]}{where}; make room, then run the same command again"
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}; lower --slice-rows, -k or --rerank"
    if isinstance(error, (CommandError, ValueError, TypeError, RuntimeError)):
        return " ".join(str(error).split())
    return None
