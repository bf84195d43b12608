"""Time contenders side by side in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def alternate(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Run every contender for at least `seconds`, always the one that has had the least time so far.

    Whatever else slows the machine meets all of them alike, and a fast contender is simply run more often.
    """
    runs: dict[str, list[float]] = {name: [] for name in calls}
    while waiting := [name for name, spent in runs.items() if not spent or sum(spent) < seconds]:
        name = min(waiting, key=lambda name: sum(runs[name]))
        runs[name].append(timed(calls[name]))
    return runs


def medians(runs: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(spent) for name, spent in runs.items()}
