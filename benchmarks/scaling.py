"""Time and memory of self-mining against n, for exact search and for `probe` at recall 0.95.

The codes have 256 bits and come from the set "nested-clusters" (benchmarks/data.py) and, at n = 60,000, from
Fashion-MNIST; k = 128, the own row excluded. A batch of rows is searched, and the seconds for all n rows are those of
the batch times n / batch. A clustered index takes queries in the order of their nearest centers, so that what it costs
depends on how alike the queries of a call are: its batch is eight runs of rows that are neighbours in its order, as in
a search of all rows; that of the given order is rows evenly spaced. Recall is the share of the exact Hamming top-128
that was found; the fewest blocks that reach it are searched for with bisection. 10^7 rows are searched with one batch,
exactly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import data, report
from benchmarks.peak import peak_of, resident
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import alternate, medians, timed
from hashneg.backends.request import BLOCK_ROWS

_N_BITS = 256
_K = 128
_RECALL = 0.95
_RUNS, _ROWS_OF_A_RUN = 8, 1024
_BISECTION_BATCH = 512
_LARGEST = 10**7
_LARGEST_BATCH = 64


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    sizes = setup.choose(
        tiny=(600, 1200), quick=(10_000, 30_000, 100_000), default=(10_000, 60_000, 250_000, 1_000_000),
        full=(10_000, 30_000, 60_000, 125_000, 250_000, 500_000, 1_000_000),
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    with use_threads(setup.threads):
        for order in ("given", "clustered"):  # compiles
            few = data.random_codes(1000, _N_BITS, seed=0)
            hn.HammingIndex(few, order=order).topk(few, 16, query_ids=np.arange(len(few)))
        for n in sizes:
            say(f"scaling: nested-clusters, n = {n:,}")
            rows += _measure(setup, "nested-clusters", data.clustered_codes(n, _N_BITS)[0])
        pixels = None if setup.size == "tiny" else data.fashion_mnist(20_000 if setup.size == "quick" else None)
        if pixels is not None:
            say(f"scaling: Fashion-MNIST, n = {len(pixels):,}")
            rows += _measure(setup, "Fashion-MNIST", hn.BinaryQuantizer(_N_BITS).fit_encode(pixels))
        if setup.size == "full":
            say(f"scaling: nested-clusters, n = {_LARGEST:,}, one batch of {_LARGEST_BATCH} queries")
            rows.append(_largest(setup))
    return _report(rows)


def _measure(setup: Setup, kind: str, codes: hn.Codes) -> Iterator[dict[str, Any]]:
    n, k = len(codes), min(_K, len(codes) // 4)
    base = resident()
    built: dict[str, hn.HammingIndex] = {}
    cost: dict[str, tuple[float, int]] = {}
    for order in ("given", "clustered"):
        cost[order] = peak_of(
            lambda order=order: timed(lambda: built.update({order: hn.HammingIndex(codes, order=order)})), resident()
        )
    alike = _runs_of_neighbours(built["clustered"])
    n_batch = len(alike)
    spaced = np.linspace(0, n - 1, n_batch).astype(np.int64)

    def search(order: str, rows: np.ndarray, probe: float = 1.0) -> hn.TopK:
        return built[order].topk(codes[rows], k, query_ids=rows, probe=probe, threads=setup.threads)

    few = spaced[:: -(-n_batch // _BISECTION_BATCH)]
    n_blocks = -(-n // BLOCK_ROWS)
    truth = search("given", few).indices
    blocks, recall = fewest_blocks(lambda count: _recall(search("clustered", few, count / n_blocks), truth), n_blocks)
    contenders: dict[str, tuple[str, Callable[[], hn.TopK]]] = {
        "exact, order given": ("given", lambda: search("given", spaced)),
        "exact, clustered": ("clustered", lambda: search("clustered", alike)),
        f"probe at recall {_RECALL}": ("clustered", lambda: search("clustered", alike, blocks / n_blocks)),
    }
    runs = alternate({name: call for name, (_, call) in contenders.items()}, setup.seconds)
    for name, batch_seconds in medians(runs).items():
        order, call = contenders[name]
        build_seconds, build_peak = cost[order]
        peak = peak_of(call)[1]
        yield {
            "data": kind, "n": n, "n_bits": _N_BITS, "k": k, "threads": setup.threads, "contender": name,
            "batch": n_batch, "runs": len(runs[name]), "batch_s": batch_seconds, "all_s": batch_seconds * n / n_batch,
            "build_s": build_seconds, "build_peak_mb": build_peak / 1e6, "search_peak_mb": peak / 1e6,
            "all_peak_mb": (resident() - base) / 1e6, "codes_mb": codes.data.nbytes / 1e6,
            "probe": blocks / n_blocks if "probe" in name else 1.0, "recall": recall if "probe" in name else 1.0,
        }  # fmt: skip


def _runs_of_neighbours(index: hn.HammingIndex) -> np.ndarray:
    """Rows of some runs in the order of a clustered index, evenly spaced; all rows of a small one."""
    clusters = index._database.clustering
    assert clusters is not None
    if index.n_rows <= _RUNS * _ROWS_OF_A_RUN:
        return np.arange(index.n_rows)
    starts = np.linspace(0, index.n_rows - _ROWS_OF_A_RUN, _RUNS).astype(np.int64)
    return clusters.order[(starts[:, np.newaxis] + np.arange(_ROWS_OF_A_RUN)).ravel()]


def fewest_blocks(recall_of: Callable[[int], float], most: int) -> tuple[int, float]:
    """The fewest blocks whose recall is enough, by bisection, and that recall."""
    low, high, reached = 0, most, 1.0  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        recall = recall_of(middle)
        if recall >= _RECALL:
            high, reached = middle, recall
        else:
            low = middle
    return high, reached


def _recall(found: hn.TopK, truth: np.ndarray) -> float:
    return float(hn.overlap_at_k(found.indices, truth).mean(dtype=np.float64))


def _largest(setup: Setup) -> dict[str, Any]:
    codes = data.clustered_codes(_LARGEST, _N_BITS)[0]
    ids = np.linspace(0, _LARGEST - 1, _LARGEST_BATCH).astype(np.int64)
    index: list[hn.HammingIndex] = []
    build_seconds, build_peak = peak_of(lambda: timed(lambda: index.append(hn.HammingIndex(codes))))
    queries = codes[ids]
    call = {"exact": lambda: index[0].topk(queries, _K, query_ids=ids, threads=setup.threads)}
    call["exact"]()
    runs = alternate(call, setup.seconds)
    seconds, peak = medians(runs)["exact"], peak_of(call["exact"])[1]
    return {
        "data": "nested-clusters", "n": _LARGEST, "n_bits": _N_BITS, "k": _K, "threads": setup.threads,
        "contender": "exact, order given", "batch": len(ids), "runs": len(runs["exact"]), "batch_s": seconds,
        "all_s": seconds * _LARGEST / len(ids), "build_s": build_seconds, "build_peak_mb": build_peak / 1e6,
        "search_peak_mb": peak / 1e6, "codes_mb": codes.data.nbytes / 1e6, "probe": 1.0, "recall": 1.0,
    }  # fmt: skip


def exponent(rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """The slope of a line through the logarithms: value ~ n ** slope."""
    return float(np.polyfit(np.log([row["n"] for row in rows]), np.log([value(row) for row in rows]), 1)[0])


def _report(rows: list[dict[str, Any]]) -> report.Report:
    table = [
        [
            "data",
            "n",
            "contender",
            "recall",
            "probe",
            "build, s",
            "search of all, s",
            "× exact, order given",
            "build peak, MB",
            "search peak, MB",
        ]
    ]
    exact = {(row["data"], row["n"]): row["all_s"] for row in rows if row["contender"] == "exact, order given"}
    table += [
        [
            row["data"], f"{row['n']:,}", row["contender"], f"{row['recall']:.3f}", f"{row['probe']:.3g}",
            f"{row['build_s']:.3g}", f"{row['all_s']:.3g}", f"{exact[row['data'], row['n']] / row['all_s']:.1f}",
            f"{row['build_peak_mb']:.0f}", f"{row['search_peak_mb']:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    notes = []
    fits: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["data"] == "nested-clusters" and row["n"] < _LARGEST:
            fits.setdefault(row["contender"], []).append(row)
    for name, of_contender in fits.items():
        search = exponent(of_contender, lambda row: row["all_s"])
        whole = exponent(of_contender, lambda row: row["all_s"] + row["build_s"])
        memory = exponent(of_contender, lambda row: row["codes_mb"] + row["build_peak_mb"])
        notes.append(
            f"{name}: search ~ n^{search:.2f}, with building ~ n^{whole:.2f}; codes and index ~ n^{memory:.2f}."
        )

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for number, (name, of_contender) in enumerate(fits.items()):
            look = {"color": report.COLOURS[number], "marker": report.MARKERS[number], "label": name}
            left.plot([row["n"] for row in of_contender], [row["all_s"] for row in of_contender], **look)
            right.plot(
                [row["n"] for row in of_contender],
                [row["codes_mb"] + row["build_peak_mb"] for row in of_contender], **look,
            )  # fmt: skip
        for axes in (left, right):
            report.log_scale(axes, "x")
            report.log_scale(axes, "y")
        report.style(left, "Search of all rows", "rows n", "seconds")
        report.style(right, "Codes and index at their peak", "rows n", "MB")
        report.legend(figure)

    title = f"Self-mining of {_N_BITS}-bit codes against n, k = {_K}"
    return report.Report(title, rows, table, draw, notes)
