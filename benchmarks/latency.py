"""What one waits for: the import, the first top-k with a cold and a warm kernel cache, one query against 10^6 codes.

Import and first top-k run in fresh processes; the process with a cold cache compiles the kernels. The single query is
timed in this process, against FAISS. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import hashneg as hn
from benchmarks import data, report
from benchmarks.peers import load_faiss
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import alternate, medians

IMPORT = """
import time
begun = time.perf_counter()
import numpy
between = time.perf_counter()
import hashneg
print(time.perf_counter() - between, between - begun)
"""
FIRST_TOPK = """
import sys, time
import numpy as np
import hashneg as hn
codes = np.random.default_rng(0).integers(0, 256, (10_000, 64), dtype=np.uint8)
begun = time.perf_counter()
hn.hamming_topk(codes[:1000], codes, 16)
first = time.perf_counter() - begun
begun = time.perf_counter()
hn.hamming_topk(codes[:1000], codes, 16)
print(first, time.perf_counter() - begun)
"""
TARGETS = {"import": 0.1, "cold": 15.0, "warm": 1.0}  # seconds
_N_BITS, _K = 256, 10


def measure(code: str, cache: str | None = None) -> list[float]:
    """Run the code in a fresh interpreter and return the seconds it prints."""
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the measured process failed:\n{done.stderr}")
    return [float(text) for text in done.stdout.split()]


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    repeat = setup.choose(tiny=1, quick=3, default=5, full=15)
    say("latency: import")
    imports = [measure(IMPORT) for _ in range(repeat + 1)][1:]  # the first one fills the file cache
    with tempfile.TemporaryDirectory() as cache:
        say("latency: first top-k")
        cold = measure(FIRST_TOPK, cache)
        warm = [measure(FIRST_TOPK, cache) for _ in range(repeat)]
    loaded = [statistics.median(column) for column in zip(*imports, strict=True)]
    waits = [statistics.median(column) for column in zip(*warm, strict=True)]
    rows = [
        _row("import numpy", loaded[1], repeat),
        _row("import hashneg, above numpy", loaded[0], repeat, TARGETS["import"]),
        _row("first top-k, cold kernel cache", cold[0], 1, TARGETS["cold"]),
        _row("first top-k, warm kernel cache", waits[0], repeat, TARGETS["warm"]),
        _row("the same top-k again", waits[1], repeat),
        *_single_query(setup),
    ]
    table = [["", "seconds", "target", "runs"]]
    for row in rows:
        target = row["target_s"]
        verdict = "" if target is None else f"< {target:g}, {'met' if row['seconds'] < target else 'MISSED'}"
        table.append([row["what"], f"{row['seconds']:.3g}", verdict, str(row["runs"])])
    failed = any(row["target_s"] is not None and row["seconds"] >= row["target_s"] for row in rows)
    notes = ["First top-k: 1,000 queries, 10,000 codes of 512 bits, k = 16."]
    return report.Report(
        "Waiting times: medians in seconds", rows, table, lambda figure: _draw(figure, rows), notes, failed
    )


def _row(what: str, seconds: float, runs: int, target: float | None = None) -> dict[str, Any]:
    return {"what": what, "seconds": seconds, "runs": runs, "target_s": target}


def _single_query(setup: Setup) -> list[dict[str, Any]]:
    """One query against many codes, with one thread and with all."""
    n = setup.choose(tiny=5000, quick=10**6)
    say(f"latency: one query against {n:,} codes")
    database, query = data.random_codes(n, _N_BITS, seed=1), data.random_codes(1, _N_BITS, seed=2)
    index = hn.HammingIndex(database)
    rows = []
    for threads in sorted({1, setup.threads}):
        calls = {
            "HammingIndex.topk": lambda threads=threads: index.topk(query, _K, threads=threads),
            "hamming_topk": lambda threads=threads: hn.hamming_topk(query, database, _K, threads=threads),
        }
        if setup.has("faiss"):
            flat = load_faiss().IndexBinaryFlat(_N_BITS)
            flat.add(database.data)
            calls["faiss IndexBinaryFlat"] = lambda flat=flat: flat.search(query.data, _K)
        with use_threads(threads):
            for call in calls.values():
                call()
            runs = alternate(calls, setup.seconds / 2)
        rows += [
            _row(
                f"one query, {n:,} × {_N_BITS} bits, {threads} thread{'s' * (threads > 1)}: {name}",
                seconds,
                len(runs[name]),
            )
            for name, seconds in medians(runs).items()
        ]
    return rows


def _draw(figure: Any, rows: list[dict[str, Any]]) -> None:
    axes = figure.add_subplot()
    places = range(len(rows))[::-1]
    drawn = axes.barh(places, [row["seconds"] for row in rows], color=report.COLOURS[0], zorder=3)
    axes.bar_label(drawn, [f"{row['seconds']:.2g} s" for row in rows], fontsize=8, padding=3)
    axes.set_yticks(places, [row["what"] for row in rows], fontsize=8)
    report.log_scale(axes, "x")
    axes.margins(x=0.15)
    report.style(axes, "Waiting times", "seconds", "", grid="x")


if __name__ == "__main__":  # python -m benchmarks.latency
    from benchmarks.__main__ import main

    sys.exit(main(["latency", *sys.argv[1:]]))
