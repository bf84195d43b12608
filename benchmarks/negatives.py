"""Contrastive learning without labels: what weighing negatives is worth, and what mining them.

An encoder learns from two random views of each item: pictures of Fashion-MNIST, and functions of Python's standard
library. All methods share encoder, optimizer, temperature, views and number of steps; they differ in how they weigh the
negatives of a batch, and in whether batches are random or hold items that hashneg mined from the whole set. Labels
serve the judgement only: a linear probe on the features, and k-NN.

Runs are kept in negatives.jsonl beside the results: a command that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks import report
from benchmarks.runs import Runs, Setting, Summary
from benchmarks.setup import Setup, use_threads

_AS_LONG = "InfoNCE, as long as UnReMix"
METHODS = (
    "InfoNCE", _AS_LONG, "HCL", "Soft-InfoNCE", "MoCHi", "UnReMix", "UnReMix without similarity",
    "UnReMix without uncertainty", "UnReMix without representativeness",
)  # fmt: skip
_REPEATED = ("InfoNCE", _AS_LONG, "HCL", "UnReMix")  # trained from several seeds
_LONGER = {"images": 1.1, "functions": 1.4}  # times the steps, as the cost of UnReMix's steps was measured
_BATCHES = ("random", "mined")
_MEASURES = {"linear": "linear probe", "knn": "k-NN"}
_BATCH_SIZE = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="begin no run after this time; 0 only reports (no limit)")


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    if find_spec("torch") is None:
        raise SystemExit("this experiment trains with PyTorch: python -m pip install torch")
    from benchmarks import negatives_tasks, negatives_training  # PyTorch only where it is needed

    limit = {"images": setup.choose(tiny=600, quick=12_800), "functions": setup.choose(tiny=600, quick=None)}
    made = {name: getattr(negatives_tasks, name)(limit[name]) for name in limit}
    tasks = {name: task for name, task in made.items() if task is not None}
    batch_size = setup.choose(tiny=64, quick=_BATCH_SIZE)
    plan = planned(setup, {name: _facts(task) for name, task in tasks.items()}, batch_size)
    runs = Runs(options.results / "negatives.jsonl")

    def perform(setting: Setting) -> dict[str, float]:
        task = tasks[setting["task"]]
        if setting.get("what") == "cost":
            return negatives_training.step_seconds(task, setting["batch_size"], setting["steps"])
        model, found = negatives_training.train(
            task, _loss_of(setting["method"]), setting["batches"] == "mined", setting["seed"], setting["steps"],
            setting["batch_size"],
        )  # fmt: skip
        return found | negatives_training.judge(model, task)

    with use_threads(setup.threads):
        runs.perform([*_costs(plan), *plan], perform, options.minutes)
    return summarize(runs, plan)


def _facts(task: Any) -> dict[str, Any]:
    """What a run depends on and the task decides."""
    return {"items": len(task.train), "temperature": task.temperature, "learning_rate": task.learning_rate}


def _loss_of(method: str) -> str:
    return "InfoNCE" if method == _AS_LONG else method


def planned(setup: Setup, tasks: dict[str, dict[str, Any]], batch_size: int) -> list[Setting]:
    """All runs: the first seed of every row on every task, then the others."""
    seeds, methods = setup.choose(tiny=1, default=3), setup.choose(tiny=("InfoNCE", "UnReMix"), quick=METHODS)
    steps = setup.choose(
        tiny={"images": 3, "functions": 3}, quick={"images": 25, "functions": 50},
        default={"images": 250, "functions": 500},
    )  # fmt: skip
    return [
        {"task": task, "method": method, "batches": batches, "seed": seed,
         "steps": round(steps[task] * _LONGER[task]) if method == _AS_LONG else steps[task],
         "batch_size": batch_size, **facts}
        for seed in range(seeds)
        for method in methods
        if seed == 0 or method in _REPEATED
        for batches in (_BATCHES[:1] if method == _AS_LONG else _BATCHES)
        for task, facts in tasks.items()
    ]  # fmt: skip


def _costs(plan: list[Setting]) -> list[Setting]:
    """The measurement of steps, one for each task."""
    of_task = {setting["task"]: setting for setting in plan}
    return [{"task": task, "what": "cost", "steps": min(20, setting["steps"]), "batch_size": setting["batch_size"]}
            for task, setting in of_task.items()]  # fmt: skip


def summarize(runs: Runs, plan: list[Setting]) -> report.Report:
    """The table of the runs that are there, which says how many of the planned ones they are."""
    rows = [{**setting, **found} for setting in plan if (found := runs.found(setting)) is not None]
    costs = {setting["task"]: runs.found(setting) or {} for setting in _costs(plan)}
    table = [["task", "batches", "method", *_MEASURES.values(), "time", "same label", "runs"]]
    for task, batches, method in _rows_of(plan):
        of_row = {"task": task, "batches": batches, "method": method}
        values = {name: runs.summary(plan, name, **of_row) for name in (*_MEASURES, "same_label")}
        cost = costs[task].get(_loss_of(method), float("nan")) / costs[task].get("InfoNCE", float("nan"))
        cost *= _LONGER[task] if method == _AS_LONG else 1
        one = values["linear"]
        table.append([
            task, batches, method, *(values[name].text() for name in _MEASURES), f"{cost:.2f}",
            f"{values['same_label'].mean:.1%}" if one.values else "-", f"{len(one.values)} of {one.wanted}",
        ])  # fmt: skip
    title = "Accuracy of self-supervised features on test items: mean, ± standard deviation over seeds"
    return report.Report(title, rows, table, lambda figure: _draw(figure, runs, plan), list(_notes(runs, plan, rows)))


def _rows_of(plan: list[Setting]) -> list[tuple[str, str, str]]:
    """(task, batches, method) of the table, in its order."""
    found = {(setting["task"], setting["batches"], setting["method"]): None for setting in plan}
    tasks = list(dict.fromkeys(setting["task"] for setting in plan))
    return sorted(found, key=lambda row: (tasks.index(row[0]), _BATCHES.index(row[1])))


def _notes(runs: Runs, plan: list[Setting], rows: list[dict[str, Any]]) -> Iterator[str]:
    first = plan[-1]
    for task in dict.fromkeys(setting["task"] for setting in plan):
        of_task = [setting for setting in plan if setting["task"] == task]
        steps, items = of_task[0]["steps"], of_task[0]["items"]
        yield f"{task}: {items:,} training items, {steps:,} steps of {first['batch_size']} items."
        for batches in _BATCHES:
            for other in ("InfoNCE", *([_AS_LONG] if batches == "random" else []), "HCL"):
                texts = [
                    f"{words} {_difference(runs, plan, name, task, batches, other)}"
                    for name, words in _MEASURES.items()
                ]
                yield f"{task}, {batches} batches, UnReMix less {other}: {', '.join(texts)}."
        mining = [row["mine_seconds"] / row["train_seconds"] for row in rows
                  if row["task"] == task and row["batches"] == "mined"]  # fmt: skip
        if mining:
            yield f"{task}: mining took {sum(mining) / len(mining):.1%} of the processor's time for training."
    yield (
        "time: of training in random batches, InfoNCE = 1, from the median processor time of a step, measured with the "
        "methods in turns."
    )
    yield "same label: pairs of a batch with the same label, false negatives by the labels; the first epoch is random."


def _difference(runs: Runs, plan: list[Setting], value: str, task: str, batches: str, other: str) -> str:
    """Mean difference to another method over the seeds that both have, with its standard deviation."""
    own, others = (
        {setting["seed"]: found[value] for setting in plan
         if (setting["task"], setting["batches"], setting["method"]) == (task, batches, method)
         and (found := runs.found(setting)) is not None}
        for method in ("UnReMix", other)
    )  # fmt: skip
    both = sorted(own.keys() & others.keys())
    found = Summary(tuple(own[seed] - others[seed] for seed in both), len(both))
    if len(both) < 2:
        return found.text("+.3f")
    return f"{found.mean:+.3f} ± {found.spread:.3f} ({len(both)} seeds)"


def _draw(figure: Any, runs: Runs, plan: list[Setting]) -> None:
    """One dot for each run; a bar for the mean."""
    tasks = list(dict.fromkeys(setting["task"] for setting in plan))
    methods = list(dict.fromkeys(setting["method"] for setting in plan))
    figure.set_size_inches(6 * len(tasks), 7)
    grid = figure.subplots(len(_MEASURES), len(tasks), squeeze=False, sharey=True)
    for line, (value, words) in zip(grid, _MEASURES.items(), strict=True):
        for axes, task in zip(line, tasks, strict=True):
            for shift, colour, batches in zip((-0.15, 0.15), report.COLOURS, _BATCHES, strict=False):
                for place, method in enumerate(methods):
                    found = runs.summary(plan, value, task=task, batches=batches, method=method)
                    label = f"{batches} batches" if place == 0 else None
                    axes.plot(found.values, [place + shift] * len(found.values), "o", color=colour, alpha=0.75,
                              markersize=5, label=label, zorder=3)  # fmt: skip
                    axes.plot([found.mean] * 2, [place + shift - 0.13, place + shift + 0.13], color=colour,
                              linewidth=2, zorder=4)  # fmt: skip
            axes.set_yticks(range(len(methods)), methods)
            axes.set_ylim(len(methods) - 0.5, -0.5)
            report.style(axes, f"{task}: {words}", "accuracy on test items", "", grid="x")
    report.legend(figure)
