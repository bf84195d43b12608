"""Results: printed, and written as CSV, Markdown and PNG with the machine and the versions."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.setup import say

COLOURS = (
    "#0b6e8f", "#c8553d", "#e0a030", "#6a8d3a", "#7b5ea7", "#444444", "#2aa198", "#b5638f", "#8a6d3b", "#8c8c8c",
    "#1f3b73", "#d98880",
)  # fmt: skip
MARKERS = "osD^vPX*<>ph"
_INK, _PALE = "#222222", "#dddddd"


@dataclass
class Report:
    """What a benchmark found.

    Attributes
    ----------
    title : str
    rows : list of dict
        The raw results, written as CSV.
    table : list of list of str
        The readable results; the first line holds the names of the columns.
    draw : function of a matplotlib figure
    notes : list of str
        Sentences below the table.
    failed : bool
        Whether a limit that the benchmark checks was missed.
    """

    title: str
    rows: list[dict[str, Any]]
    table: list[list[str]]
    draw: Callable[[Any], None]
    notes: list[str] = field(default_factory=list)
    failed: bool = False


def show(report: Report, header: Sequence[str]) -> None:
    """Print the readable results."""
    print("\n".join(header), end="\n\n")
    print(report.title, end="\n\n")
    widths = [max(len(line[i]) for line in report.table) for i in range(len(report.table[0]))]
    for line in report.table:
        cells = [
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    for note in report.notes:
        print(textwrap.fill(note, 120, initial_indent="- ", subsequent_indent="  "))


def save(report: Report, name: str, command: str, header: Sequence[str], folder: Path) -> None:
    """Write NAME.csv, NAME.md and NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in (command, *header))
        writer = csv.DictWriter(
            file, list(dict.fromkeys(key for row in report.rows for key in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in report.rows)
    with open(folder / f"{name}.md", "w", encoding="utf-8") as file:
        head, *body = report.table
        file.write(f"{report.title}\n\n")
        file.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
        file.writelines(f"| {' | '.join(line)} |\n" for line in body)
        file.write("\n" + "".join(f"- {note}\n" for note in report.notes))
        file.write(f"\n`{command}`; {'; '.join(header)}.\n")
    if find_spec("matplotlib") is None:
        say("no plot was drawn: matplotlib is not installed")
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    figure = Figure(figsize=(9, 5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    report.draw(figure)
    figure.savefig(folder / f"{name}.png", dpi=140)


def style(axes: Any, title: str, x: str, y: str, grid: str = "y") -> None:
    """The look of all plots; the grid crosses the axis of values."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK)
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    axes.grid(axis=grid, color=_PALE, linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#888888")


def log_scale(axes: Any, which: str) -> None:
    """A logarithmic axis ("x" or "y") that is labelled with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_minpos(), axis.get_data_interval()[1]
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Any) -> None:
    """One legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=min(len(entries), 5),
        frameon=False,
        fontsize=9,
    )


def bars(axes: Any, groups: Sequence[str], series: dict[str, Sequence[float]], form: str = "{:.2g}") -> None:
    """Bars side by side, one colour for each name, every bar with its value; NaN draws none."""
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [i + (number - (len(series) - 1) / 2) * width for i in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.92, label=name, color=COLOURS[number], zorder=3)
        labels = ["" if value != value else form.format(value) for value in values]
        axes.bar_label(drawn, labels, fontsize=7, padding=2, color=_INK)
    axes.set_xticks(range(len(groups)), groups)


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
