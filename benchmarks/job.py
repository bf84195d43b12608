"""The whole mining job on real embeddings: seconds, peak memory, and overlap with exact cosine.

Every anchor gets its k = 128 nearest rows by cosine, without its own row (Fashion-MNIST pixels against themselves) or
its positive (docstrings against code, the corpus of ``hashneg demo``). The time holds everything from float
embeddings to those rows: fitting, encoding, building indexes, search, rerank, and dropping the one excluded row. A
method that has a setting (probes, candidates) pays for its index at each of them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import hashneg as hn
from benchmarks import data, job_methods, report
from benchmarks.job_methods import Method
from benchmarks.peak import peak_of, resident
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import timed

_K = 128
_WARM_ROWS = 700
_LEAST_MISSED = 0.004  # where the axis of overlaps ends
_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Task(NamedTuple):
    """Anchors, the corpus (None: the anchors), and how many neighbours are wanted; row i is excluded for anchor i."""

    name: str
    anchors: np.ndarray
    corpus: np.ndarray | None
    k: int

    @property
    def database(self) -> np.ndarray:
        return self.anchors if self.corpus is None else self.corpus

    def part(self, rows: int) -> Task:
        return Task(self.name, self.anchors[:rows], None if self.corpus is None else self.corpus[:rows], self.k)


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    rows: list[dict[str, Any]] = []
    with use_threads(setup.threads):
        methods = list(job_methods.every(setup))
    with use_threads(setup.threads):  # of the libraries that are loaded now, too
        for task in _tasks(setup):
            rows += _measure(setup, task, methods)
    return _report(rows)


def _tasks(setup: Setup) -> Iterator[Task]:
    k = setup.choose(tiny=16, quick=_K)
    if setup.size == "tiny":
        yield Task("nested-clusters", data.unit(np.concatenate(list(data.nested_clusters(0, 700, 32)))), None, k)
        return
    pairs = data.demo_corpus(setup.choose(tiny=0, quick=4000, default=None))
    if pairs is not None:
        yield Task("demo corpus", *pairs, k)
    pixels = data.fashion_mnist(setup.choose(tiny=0, quick=8000, default=60_000))
    if pixels is not None:
        yield Task("Fashion-MNIST", pixels, None, k)


def _measure(setup: Setup, task: Task, methods: list[Method]) -> Iterator[dict[str, Any]]:
    """Method by method, with repetitions for as long as a method's share of the time allows."""
    small = task.part(max(_WARM_ROWS, 2 * task.k))
    for method in methods:
        built = method.build(small, setup.threads)
        method.search(built, small, method.settings[0], setup.threads)
    spent: dict[tuple[str, str], list[float]] = {}
    results: dict[tuple[str, str], dict[str, Any]] = {}
    turns = 0
    truth: np.ndarray | None = None
    while waiting := [method for method in methods if _time_of(method, spent) < setup.seconds or not turns]:
        turns += 1
        for method in waiting:
            say(f"job: {task.name}, n = {len(task.database):,}, {method.name}")
            for setting, seconds, peak, found in _once(setup, task, method):
                truth = found if truth is None else truth  # the first method is exact
                key = (method.name, setting)
                spent.setdefault(key, []).append(seconds)
                overlap = float(hn.overlap_at_k(found, truth).mean(dtype=np.float64))
                before = results.get(key, {"peak_mb": 0.0})
                results[key] = {"peak_mb": max(peak / 1e6, before["peak_mb"]), "overlap_at_k": overlap}
    for (name, setting), result in results.items():
        yield {
            "data": task.name, "n": len(task.database), "dim": task.anchors.shape[1], "k": task.k,
            "threads": setup.threads, "method": name, "setting": setting, "runs": len(spent[name, setting]),
            "seconds": statistics.median(spent[name, setting]), **result,
        }  # fmt: skip


def _time_of(method: Method, spent: dict[tuple[str, str], list[float]]) -> float:
    """Seconds a method has had for each of its settings."""
    return min((sum(times) for (name, _), times in spent.items() if name == method.name), default=0.0)


def _once(setup: Setup, task: Task, method: Method) -> Iterator[tuple[str, float, int, np.ndarray]]:
    """Build once, search at every setting: setting, seconds with the building, peak bytes, indices."""
    base, results = resident(), []
    build_seconds, build_peak = peak_of(lambda: timed(lambda: results.append(method.build(task, setup.threads))))
    built = results.pop()
    for setting in method.settings:
        seconds, peak = peak_of(
            lambda setting=setting: timed(lambda: results.append(method.search(built, task, setting, setup.threads))),
            base,
        )
        yield str(setting), build_seconds + seconds, max(build_peak, peak), results.pop()


def _report(rows: list[dict[str, Any]]) -> report.Report:
    table = [["data", "method", "setting", "seconds", "peak MB", "overlap@k"]]
    table += [
        [
            f"{row['data']}, n = {row['n']:,}", row["method"], row["setting"], f"{row['seconds']:.3g}",
            f"{row['peak_mb']:,.0f}", f"{row['overlap_at_k']:.3f}",
        ]
        for row in rows
    ]  # fmt: skip
    notes = [note for name in dict.fromkeys(row["data"] for row in rows) for note in _compare(name, rows)]
    title = f"The whole mining job, k = {rows[0]['k']}: seconds, memory above the embeddings, overlap with exact cosine"
    return report.Report(title, rows, table, lambda figure: _draw(figure, rows), notes)


def _compare(name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """At each level of overlap: the fastest of hashneg's codes, of the competitors, and of the exact searches."""

    def fastest(of: Callable[[str], bool]) -> dict[str, Any] | None:
        good = [row for row in rows if row["data"] == name and row["overlap_at_k"] >= level and of(row["method"])]
        return min(good, key=lambda row: row["seconds"], default=None)

    for level in _LEVELS:
        own, exact = fastest(_uses_codes), fastest(lambda method: method in job_methods.EXACT)
        peer = fastest(lambda method: not method.startswith("hashneg"))
        if own is None:
            yield f"{name}, overlap ≥ {level}: reached by none of the settings of hashneg."
            continue
        text = f"{name}, overlap ≥ {level}: {own['method']} {own['setting']}, {own['seconds']:.3g} s"
        for what, other in (("fastest competitor", peer), ("fastest exact float search", exact)):
            if other is not None:
                setting = f" {other['setting']}" if other["setting"] else ""
                times = other["seconds"] / own["seconds"]
                text += f"; {what} {other['method']}{setting}, {other['seconds']:.3g} s ({times:.2f} times as long)"
        yield f"{text}."


def _uses_codes(method: str) -> bool:
    return method.startswith("hashneg") and method not in job_methods.EXACT


def _draw(figure: Any, rows: list[dict[str, Any]]) -> None:
    """Seconds against overlap; the axis gives the same room to every halving of what is missed."""
    sets = list(dict.fromkeys((row["data"], row["n"], row["k"]) for row in rows))
    names = list(dict.fromkeys(row["method"] for row in rows))
    figure.set_size_inches(6.5 * len(sets), 6)
    for axes, (name, n, k) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for number, method in enumerate(names):
            points = sorted(
                (_place(row["overlap_at_k"]), row["seconds"])
                for row in rows
                if (row["data"], row["method"]) == (name, method)
            )
            own = _uses_codes(method)
            axes.plot(
                *zip(*points, strict=True), label=method, color=report.COLOURS[number % len(report.COLOURS)],
                marker=report.MARKERS[number % len(report.MARKERS)], linewidth=2.2 if own else 1.0,
                linestyle="-" if own else "--", markersize=7 if own else 6, zorder=4 if own else 3,
            )  # fmt: skip
        report.log_scale(axes, "y")
        ticks = (0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
        axes.set_xticks(
            [_place(tick) for tick in ticks], [*(f"{tick:g}" for tick in ticks[:-1]), f"≥ {1 - _LEAST_MISSED:g}"]
        )
        report.style(axes, f"{name}, {n:,} rows", f"overlap@{k} with exact cosine", "seconds for the whole job")
    report.legend(figure)


def _place(overlap: float) -> float:
    return -float(np.log10(max(1 - overlap, _LEAST_MISSED)))
