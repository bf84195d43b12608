"""What a person sees: messages, warnings, progress with the time left, and the summary table."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Update = Callable[[int, int], None]
_SECONDS_BETWEEN_LINES = 10.0


class Console:
    """Messages and progress go to stderr, results to stdout.

    Parameters
    ----------
    quiet : bool
        Say nothing but errors.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: Any = None

    def say(self, text: str) -> None:
        if not self.quiet:
            self._line(f"hashneg: {text}")

    def error(self, text: str) -> None:
        self._line(f"hashneg: error: {text}")

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Print (what, value) rows: a table on a terminal, aligned plain text elsewhere."""
        if self.quiet:
            return
        if not sys.stdout.isatty():
            width = max((len(what) for what, _ in rows), default=0) + 2
            print(title, *(f"{what:<{width}}{value}" for what, value in rows), sep="\n", flush=True)
            return
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, show_header=False, title_justify="left")
        for what, value in rows:
            table.add_row(Text(what), Text(value))
        RichConsole().print(table)

    @contextmanager
    def progress(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Update]:
        """Show how far a step is, with the time left; yields ``update(done, total)``."""
        if self.quiet:
            yield lambda done, total: None
        elif sys.stderr.isatty():
            with self._bar(description, total, unit, done) as update:
                yield update
        else:
            self.say(f"{description} {total:,} {unit}s" + (f", {done:,} of them done before" if done else ""))
            yield _Lines(self, description, unit, done)

    @contextmanager
    def _bar(self, description: str, total: int, unit: str, done: int) -> Iterator[Update]:
        from rich import progress
        from rich.console import Console as RichConsole

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit + "s"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("time left"),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=RichConsole(stderr=True)) as bars:
            task = bars.add_task(description, total=total, completed=done)
            self._bars = bars
            try:
                yield lambda done, total: bars.update(task, completed=done)
            finally:
                self._bars = None

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show Python's warnings as lines of this program."""

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            self.say(f"warning: {message}")

        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = show
            yield

    def _line(self, text: str) -> None:
        if self._bars is not None:  # a bar is drawn over plain prints
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


class _Lines:
    """Progress where there is no terminal: a line every few seconds."""

    def __init__(self, console: Console, description: str, unit: str, done: int) -> None:
        self._console, self._description, self._unit = console, description, unit
        self._before = done
        self._begun = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < _SECONDS_BETWEEN_LINES or done <= self._before:
            return
        self._said = now
        left = (now - self._begun) * (total - done) / (done - self._before)
        self._console.say(
            f"{self._description} {done:,} of {total:,} {self._unit}s, {100 * done // max(total, 1)} %, "
            f"{duration(left)} left"
        )


def duration(seconds: float) -> str:
    """A time in words that a person reads at a glance."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
