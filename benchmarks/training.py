"""The paper's experiment, small and real: what batches of hard negatives do for a model, and what mining them costs.

Two tasks, docstring-to-code search ("text") and matching the halves of Fashion-MNIST images ("image"), each with a
small tower trained from nothing on one CPU thread. The rows differ in how the pairs of a batch are found: at random, at
random with the loss on the hardest half of a batch, or as neighbours from a search between epochs, exact or by codes.
Finished runs are kept in training.jsonl; a new call makes those that are missing and writes the table from all.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from benchmarks import training_page
from benchmarks.data import labelled_fashion_mnist
from benchmarks.report import Report
from benchmarks.runs import Runs
from benchmarks.setup import Setup, say, use_threads
from benchmarks.training_methods import METHODS

TASKS = ("text", "image")
SEEDS = 3
COSTED = ("full", "hashneg 256 epoch", "hashneg 512 epoch", "hashneg 256 live", "hashneg 512 live")
SIZES = {  # task: pairs, held-out pairs, epochs
    "tiny": {"made up": (140, 40, 5)},
    "quick": {"image": (20_000, 10_000, 6), "text": (20_000, 4000, 5)},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=TASKS, help="make the runs of one task alone (both)")
    parser.add_argument("--minutes", type=float, help="begin no run after this time (make all that are missing)")


def run(setup: Setup, options: argparse.Namespace) -> Report:
    runs = Runs(options.results / "training.jsonl")
    plan = planned(setup.size)
    wanted = [setting for setting in plan if options.task in (None, setting["task"])]
    if any(setting["task"] == "image" for setting in wanted) and labelled_fashion_mnist("train") is None:
        wanted = [setting for setting in wanted if setting["task"] != "image"]
    if find_spec("torch") is None:
        say("no run is made: torch is not installed (python -m pip install -e '.[bench]')")
    else:
        from benchmarks.training_run import train, warm_up

        with use_threads(options.threads or 1):
            if any(runs.found(setting) is None for setting in wanted):
                warm_up()
            runs.perform(wanted, train, options.minutes)
    return training_page.report_of(runs, plan)


def planned(size: str) -> list[dict[str, Any]]:
    """The settings of all runs in the order in which they are made: each row once, then the other seeds, then costs."""
    of_size = SIZES.get(size, SIZES["quick"])
    scored = [
        {"task": task, "method": method, "seed": seed, "pairs": pairs, "test": test, "epochs": epochs}
        for seed in range(SEEDS)
        for task, (pairs, test, epochs) in of_size.items()
        for method in METHODS
    ]
    costed = [
        {"task": "image", "method": method, "seed": 0, "pairs": 60_000, "test": 10_000, "epochs": 1}
        for method in COSTED
        if "image" in of_size
    ]
    return [*scored, *costed]
