"""A set of codes against itself, never returning rows of the query's own label, against FAISS.

Every two neighbouring rows share a label. hashneg excludes inside the search; FAISS searches for k + 2, which is enough
since a label has two rows, and what is not allowed is dropped afterwards. The time holds everything from packed codes
to k allowed rows of every code: layout or index, search, dropping. "clustered" is `HammingIndex(order="clustered")`,
its clustering included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import data, report
from benchmarks.peers import load_faiss
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import alternate, medians

_K = 16
_ROWS_OF_A_LABEL = 2
_WARM_ROWS = 600


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    rows = []
    for kind, codes, threads in _sets(setup):
        say(f"selfmine: {kind}, n = {len(codes):,}, {codes.n_bits} bits, {threads} threads")
        with use_threads(threads):
            rows += _measure(setup, kind, codes, threads)
    return _report(rows)


def _sets(setup: Setup) -> Iterator[tuple[str, hn.Codes, int]]:
    """Name, codes and threads."""
    n = setup.choose(tiny=1500, quick=10_000, default=65_536, full=100_000)
    for n_bits in setup.choose(tiny=(64,), quick=(256, 1024), default=(256, 512, 1024)):
        for threads in setup.choose(tiny=(1,), quick=(setup.threads,), full=sorted({1, setup.threads})):
            yield "random", data.random_codes(n, n_bits, seed=1), threads
    if setup.size == "tiny":
        return
    pixels = data.fashion_mnist(setup.choose(tiny=None, quick=15_000, default=None))
    if pixels is not None:
        for n_bits in (256, 512):
            yield "Fashion-MNIST", hn.BinaryQuantizer(n_bits).fit_encode(pixels), setup.threads
    pairs = data.demo_corpus()
    if pairs is not None:
        for n_bits in (256, 512):
            yield "demo corpus, code", hn.BinaryQuantizer(n_bits).fit_encode(pairs[1]), setup.threads


def _measure(setup: Setup, kind: str, codes: hn.Codes, threads: int) -> Iterator[dict[str, Any]]:
    calls: dict[str, Callable[[hn.Codes], tuple[np.ndarray, int]]] = {
        "hashneg": lambda part: _hashneg(part, "given", threads),
        "hashneg clustered": lambda part: _hashneg(part, "clustered", threads),
    }
    if setup.has("faiss"):
        calls |= {
            "faiss heap": lambda part: _faiss(part, True),
            "faiss counting": lambda part: _faiss(part, False),
        }
    small = codes[:_WARM_ROWS]
    found = {name: call(small)[0] for name, call in calls.items()}  # compiles, and is compared
    runs = alternate({name: lambda c=call: c(codes) for name, call in calls.items()}, setup.seconds)
    spent = medians(runs)
    fastest = min(seconds for name, seconds in spent.items() if name.startswith("hashneg"))
    for name, seconds in spent.items():
        yield {
            "data": kind, "n": len(codes), "n_bits": codes.n_bits, "k": _K, "threads": threads, "contender": name,
            "runs": len(runs[name]), "seconds": seconds, "gcmp_per_s": len(codes) ** 2 / seconds / 1e9,
            "hashneg_is_faster_by": seconds / fastest,
            "same_distances": bool(np.array_equal(found[name], found["hashneg"])),
        }  # fmt: skip


def _labels(codes: hn.Codes) -> np.ndarray:
    return np.arange(len(codes)) // _ROWS_OF_A_LABEL


def _hashneg(codes: hn.Codes, order: str, threads: int) -> tuple[np.ndarray, np.ndarray]:
    labels = _labels(codes)
    if order == "given":
        found = hn.hamming_topk(codes, codes, _K, query_labels=labels, database_labels=labels, threads=threads)
    else:
        found = hn.HammingIndex(codes, labels, order=order).topk(codes, _K, query_labels=labels, threads=threads)
    return found.distances, found.indices


def _faiss(codes: hn.Codes, heap: bool) -> tuple[np.ndarray, np.ndarray]:
    faiss = load_faiss()
    index = faiss.IndexBinaryFlat(8 * codes.data.shape[1])
    index.use_heap = heap
    index.add(codes.data)
    labels = _labels(codes)
    distances, indices = index.search(codes.data, _K + _ROWS_OF_A_LABEL)
    allowed = labels[indices] != labels[:, None]
    first = np.argsort(~allowed, axis=1, kind="stable")[:, :_K]  # the first k allowed, in their order
    return np.take_along_axis(distances, first, axis=1), np.take_along_axis(indices, first, axis=1)


def _report(rows: list[dict[str, Any]]) -> report.Report:
    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    peers = [name for name in contenders if not name.startswith("hashneg")]
    key = ("data", "n", "n_bits", "threads")
    sets: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        sets.setdefault(tuple(row[name] for name in key), {})[row["contender"]] = row
    table = [
        [
            "data",
            "n",
            "bits",
            "threads",
            *(f"{name}, s" for name in contenders),
            *(f"× {name}" for name in peers),
            "× best peer",
        ]
    ]
    for cell, of_cell in sets.items():
        ratios = [of_cell[name]["hashneg_is_faster_by"] for name in peers]
        table.append([
            cell[0], f"{cell[1]:,}", str(cell[2]), str(cell[3]),
            *(f"{of_cell[name]['seconds']:.3g}" for name in contenders),
            *(f"{ratio:.1f}" for ratio in ratios), f"{min(ratios):.1f}" if ratios else "",
        ])  # fmt: skip
    different = [row for row in rows if not row["same_distances"]]
    notes = [
        "Distances of all contenders are equal." if not different else f"DISTANCES DIFFER in {len(different)} cells."
    ]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        groups = [f"{kind}\n{n:,} × {n_bits} bits\n{threads} threads" for kind, n, n_bits, threads in sets]
        series = {name: [of_cell[name]["seconds"] for of_cell in sets.values()] for name in contenders}
        report.bars(axes, groups, series)
        report.log_scale(axes, "y")
        axes.tick_params(axis="x", labelsize=7)
        report.style(axes, f"A set against itself, k = {_K}, own label excluded", "", "seconds, all steps")
        report.legend(figure)

    title = (
        f"Self-mining, k = {_K}, same-label exclusion: seconds, and how many times faster the better hashneg order is"
    )
    return report.Report(title, rows, table, draw, notes, bool(different))
