"""One progress bar for every long call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Progress = bool | Callable[[int, int], Any]


class Meter:
    """Counts finished units of work and shows them.

    Parameters
    ----------
    progress : bool or callable
        False shows nothing, True shows a tqdm bar with the time left, and a callable is called
        as ``progress(done, total)``.
    """

    def __init__(self, progress: Progress, total: int, description: str, unit: str = "row") -> None:
        if not isinstance(progress, bool) and not callable(progress):
            raise TypeError(f"progress must be a bool or a callable, got {type(progress).__name__}")
        self.done = 0
        self.total = total
        self._call = progress if callable(progress) else None
        self._lock = threading.Lock()  # tiles finish on several threads
        self._bar: Any = None
        if progress is True:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=description, unit=unit, unit_scale=True)

    def advance(self, amount: int) -> None:
        with self._lock:
            self.done += amount
            if self._bar is not None:
                self._bar.update(amount)
            elif self._call is not None:
                self._call(self.done, self.total)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
