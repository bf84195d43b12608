"""Runs of an experiment, kept one by one, so that a table can be made over several sittings."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.setup import say

Setting = Mapping[str, Any]  # what a run is of: method, task, seed, ...


@dataclass(frozen=True)
class Summary:
    """A value over the seeds of a row of the table.

    Attributes
    ----------
    values : tuple of float
        One for each seed that was run, in the order of the seeds.
    wanted : int
        Seeds planned.
    """

    values: tuple[float, ...]
    wanted: int

    @property
    def complete(self) -> bool:
        return len(self.values) == self.wanted

    @property
    def mean(self) -> float:
        return mean(self.values) if self.values else float("nan")

    @property
    def spread(self) -> float:
        """The standard deviation over seeds (n - 1 in the denominator); NaN for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else float("nan")

    def text(self, form: str = ".3f") -> str:
        """The mean, with the spread where there is one; "-" without any run."""
        if not self.values:
            return "-"
        return f"{self.mean:{form}}" + (f" ± {self.spread:{form}}" if len(self.values) > 1 else "")


class Runs:
    """The file of an experiment's finished runs: one JSON object a line, a setting and what was found.

    Parameters
    ----------
    path : Path
        Made with its folder when the first run is kept. A last line that was cut off is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                run = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._found[_key(run["setting"])] = run["found"]

    def found(self, setting: Setting) -> dict[str, Any] | None:
        """What the run of this setting found; None where it was not run."""
        return self._found.get(_key(setting))

    def keep(self, setting: Setting, found: Mapping[str, Any]) -> None:
        """Append a run to the file, and make sure that it is on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps({"setting": setting, "found": found}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._found[_key(setting)] = dict(found)

    def perform(
        self, planned: Sequence[Setting], run: Callable[[Setting], Mapping[str, Any]], minutes: float | None = None
    ) -> None:
        """Make the runs that are missing, in the order given; begin none after `minutes`."""
        begun = time.monotonic()
        missing = [setting for setting in planned if self.found(setting) is None]
        for number, setting in enumerate(missing):
            if minutes is not None and time.monotonic() - begun > 60 * minutes:
                say(f"{len(missing) - number} runs are left for another sitting")
                return
            start = time.monotonic()
            self.keep(setting, run(setting))
            words = " ".join(f"{name}={value}" for name, value in setting.items())
            say(f"{number + 1}/{len(missing)} in {time.monotonic() - start:.0f} s: {words}")

    def summary(self, planned: Sequence[Setting], value: str, **row: Any) -> Summary:
        """One value over the planned runs that have these settings."""
        of_row = [setting for setting in planned if all(setting.get(name) == wanted for name, wanted in row.items())]
        runs = [found for setting in of_row if (found := self.found(setting)) is not None]
        return Summary(tuple(float(found[value]) for found in runs), len(of_row))


def _key(setting: Setting) -> str:
    return json.dumps(setting, sort_keys=True)
