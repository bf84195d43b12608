"""The results of the training experiment: table, plots and what they say about the claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import report
from benchmarks.report import COLOURS, Report
from benchmarks.runs import Runs, Setting, Summary
from benchmarks.training_methods import METHODS

_HEAD = [
    "task", "method", "seeds", "R@1", "R@5", "MRR@10", "mining, CPU s an epoch", "share of epoch", "kept, MB",
    "overlap@128", "staleness, rad",
]  # fmt: skip
_SCORES = ("R@1", "R@5", "MRR@10")
_PANELS = (("R@1", "R@1 on held-out pairs"), ("overlap", "overlap@128, fresh exact cosine"),
           ("staleness", "staleness, radians"), ("share", "mining, % of epoch"))  # fmt: skip


def report_of(runs: Runs, planned: Sequence[Setting]) -> Report:
    rows = [row for setting in planned for row in _csv(setting, runs.found(setting))]
    table = [_HEAD, *_lines(runs, planned)]
    done = sum(runs.found(setting) is not None for setting in planned)
    notes = [
        f"{done} of {len(planned)} planned runs are complete. Scores are the mean over seeds, with the standard "
        "deviation; seeds says how many of those planned were run.",
        "Mining holds all that a method spends beside the training steps: keeping embeddings or codes, embedding anew, "
        "fitting, encoding, search. CPU seconds of one thread. Its share is of an epoch with its mining.",
        "Overlap and staleness are those after the last mined epoch, by the model of then; the plot has all epochs.",
        *_claims(runs, planned),
    ]
    title = "Training with batches of hard negatives: scores, cost of mining, and how true the neighbours are"
    return Report(title, rows, table, lambda figure: _draw(figure, runs, planned), notes)


def _rows(planned: Sequence[Setting]) -> list[tuple[dict[str, Any], str]]:
    """(what tells a row's task, method): task by task, the methods in their order."""
    made = {(s["task"], s["pairs"], s["epochs"], s["method"]): None for s in planned}
    tasks = dict.fromkeys(key[:3] for key in made)
    return [
        (dict(zip(("task", "pairs", "epochs"), task, strict=True)), method)
        for task in tasks
        for method in METHODS
        if (*task, method) in made
    ]


def _lines(runs: Runs, planned: Sequence[Setting]) -> Iterator[list[str]]:
    for task, method in _rows(planned):

        def of(value: str, task: Any = task, method: str = method) -> Summary:
            return runs.summary(planned, value, **task, method=method)

        scored, mines = task["epochs"] > 1, method not in ("random", "batch-hard")
        seeds = of("steps")
        last = _last(runs, planned, task, method)
        yield [
            f"{task['task']}, n = {task['pairs']:,}" + ("" if scored else ", one epoch"), method,
            f"{len(seeds.values)} of {seeds.wanted}",
            *(of(name).text(".4f") if scored else "" for name in _SCORES),
            of("mining").text(".2f") if mines else "0",
            (f"{100 * of('share').mean:.1f} %" if seeds.values else "-") if mines else "0",
            (f"{of('kept_mb').mean:.1f}" if seeds.values else "-") if mines else "0",
            f"{last['overlap']:.3f}" if last else "", f"{last['staleness']:.3f}" if last else "",
        ]  # fmt: skip


def _last(runs: Runs, planned: Sequence[Setting], task: dict[str, Any], method: str) -> dict[str, float]:
    """Overlap and staleness after the last epoch mined, the mean over seeds; empty where nothing was mined."""
    found = [mined[-1] for mined in _mined(runs, planned, task, method) if mined]
    return {name: sum(entry[name] for entry in found) / len(found) for name in ("overlap", "staleness") if found}


def _mined(runs: Runs, planned: Sequence[Setting], task: dict[str, Any], method: str) -> list[list[dict[str, float]]]:
    """The measurements of each run of a row, epoch by epoch."""
    of_row = [setting for setting in planned if setting["method"] == method and setting.items() >= task.items()]
    return [found["mined"] for setting in of_row if (found := runs.found(setting)) is not None]


def _csv(setting: Setting, found: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A line for a run that is complete, and one for each epoch after which it mined."""
    if found is None:
        return
    values = {name: value for name, value in found.items() if name != "mined"}
    yield {**setting, "epoch": "all", **values}
    for entry in found["mined"]:
        yield {**setting, **entry}


def _claims(runs: Runs, planned: Sequence[Setting]) -> Iterator[str]:
    """Where the codes stand between random batches and the full search, and what their mining costs beside it."""
    for task, method in _rows(planned):
        if not method.startswith("hashneg"):
            continue

        def of(value: str, method: str, task: Any = task) -> Summary:
            return runs.summary(planned, value, **task, method=method)

        if task["epochs"] > 1:
            own = of("R@1", method)
            others = {name: of("R@1", name) for name in ("full", "random", "batch-hard")}
            if all(score.complete and len(score.values) > 1 for score in (own, *others.values())):
                text = ", ".join(f"{_difference(own, other)} against {name}" for name, other in others.items())
                yield f"{task['task']}, {method}, R@1, difference by seed: {text}."
        elif of("mining", method).values and of("mining", "full").values:
            own, full = of("mining", method).mean, of("mining", "full").mean
            share = 100 * of("share", method).mean
            yield (
                f"{task['task']}, n = {task['pairs']:,}, {method}: mining takes {own:.2f} CPU s, {share:.1f} % of the "
                f"epoch with it, and {100 * own / full:.1f} % of what full takes."
            )


def _difference(own: Summary, other: Summary) -> str:
    """The mean over seeds of own - other, with its standard deviation: seeds move all methods alike."""
    by_seed = Summary(tuple(a - b for a, b in zip(own.values, other.values, strict=True)), own.wanted)
    return f"{by_seed.mean:+.4f} ± {by_seed.spread:.4f}"


def _draw(figure: Any, runs: Runs, planned: Sequence[Setting]) -> None:
    """A row of panels for each task, over the runs that have scores."""
    rows = [(task, method) for task, method in _rows(planned) if task["epochs"] > 1]
    tasks = [task for task, method in rows if method == rows[0][1]]
    methods = list(dict.fromkeys(method for _, method in rows))
    figure.set_size_inches(17, 4.6 * len(tasks) + 1)
    for task, panels in zip(tasks, figure.subplots(len(tasks), len(_PANELS), squeeze=False), strict=True):
        for axes, (value, title) in zip(panels, _PANELS, strict=True):
            by_epoch = value in ("overlap", "staleness")
            for number, method in enumerate(methods):
                if by_epoch:
                    _line(axes, value, _mined(runs, planned, task, method), method)
                else:
                    _dots(axes, runs.summary(planned, value, **task, method=method), value, method, number)
            if not by_epoch:
                axes.set_yticks(range(len(methods)), methods if value == "R@1" else [""] * len(methods))
                axes.set_ylim(len(methods) - 0.5, -0.5)
            report.style(axes, f"{task['task']}: {title}", "epoch" if by_epoch else "", "", "both")
    report.legend(figure)


def _dots(axes: Any, of_row: Summary, value: str, method: str, number: int) -> None:
    """A dot for each run, and a stroke at their mean."""
    times = 100 if value == "share" else 1
    colour = _colour(method)
    axes.plot([times * point for point in of_row.values], [number] * len(of_row.values), "o", color=colour, alpha=0.6)
    axes.plot([times * of_row.mean], [number], "|", color=colour, ms=16, mew=2)


def _line(axes: Any, value: str, mined: list[list[dict[str, float]]], method: str) -> None:
    """The mean over the runs of a row; full is left out, which is 1 and 0 by construction."""
    if not mined or not mined[0] or method == "full":
        return
    epochs = [entry["epoch"] for entry in mined[0]]
    means = [sum(run[i][value] for run in mined) / len(mined) for i in range(len(epochs))]
    axes.plot(epochs, means, "--" if "live" in method else "-", marker=".", color=_colour(method), label=method)
    axes.set_xticks(epochs)


def _colour(method: str) -> str:
    """One colour for each number of bits, whatever the mode."""
    names = ("random", "batch-hard", "full", "incremental", "128", "256", "512", "1024")
    return COLOURS[next(i for i, name in enumerate(names) if name in method.split())]
