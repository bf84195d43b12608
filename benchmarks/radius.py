"""How far away the k-th nearest code is, and what multi-index hashing would have to look up to get there.

Multi-index hashing (Norouzi, Punjani & Fleet, CVPR 2012) cuts codes into m parts, keeps a table of buckets for each,
and probes buckets of growing distance until the pigeonhole principle says that k codes have been found. Counted are its
probes and the rows it compares, for the m that needs the fewest of both together. Timed, in processor seconds of one
thread, are fetching so many random bucket heads and rows, which leaves out all else that it does, and the exact search.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import data, report
from benchmarks.setup import Setup, say, use_threads

_BITS, _K = 256, 128
_PARTS = (12, 16, 20, 24, 32)


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    n = int(setup.choose(tiny=1000, quick=60_000))  # type: ignore[call-overload]
    asked = int(setup.choose(tiny=4, quick=20, default=60))  # type: ignore[call-overload]
    with use_threads(1):
        rows = [_measure(name, database, asked, setup.size == "tiny") for name, database in _sets(n, setup)]
    table = [["data", "n", f"distance of the {_K}th, 10 / 50 / 90 %", "parts", "probes", "rows compared",
              "fetching these", "exact search"]]  # fmt: skip
    table += [
        [row["data"], f"{row['n']:,}", f"{row['low']:.0f} / {row['median']:.0f} / {row['high']:.0f}", str(row["parts"]),
         f"{row['probes']:,.0f}", f"{row['compared']:,.0f}", f"{1e6 * row['fetch_seconds']:.1f} µs",
         f"{1e6 * row['search_seconds']:.1f} µs"]
        for row in rows
    ]  # fmt: skip
    notes = [f"Of {_BITS} bits; medians over {asked} queries, times for one query, searched 1,000 at a time."]
    title = f"The way to the {_K}th nearest code: exact search against the probes of multi-index hashing"
    return report.Report(title, rows, table, lambda figure: _draw(figure, rows), notes)


def _sets(n: int, setup: Setup) -> Iterator[tuple[str, np.ndarray]]:
    if setup.size != "tiny":
        demo = data.demo_corpus()
        if demo is not None:
            yield "demo corpus (code)", demo[1]
        pixels = data.fashion_mnist(n)
        if pixels is not None:
            yield "Fashion-MNIST", pixels
    yield "nested clusters", data.unit(np.concatenate(list(data.nested_clusters(0, n))))


def _measure(name: str, database: np.ndarray, asked: int, quick: bool) -> dict[str, Any]:
    say(f"radius: {name}, {len(database):,} rows")
    codes = hn.BinaryQuantizer(_BITS).fit_encode(database)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(codes), min(1000, len(codes)), replace=False)
    distances = hn.hamming_topk(codes[rows], codes, _K, query_ids=rows).distances[:, -1]
    low, median, high = np.quantile(distances, (0.1, 0.5, 0.9))
    options = []
    for parts in _PARTS:
        probed = np.array([probes(_BITS, parts, int(radius)) for radius in distances[:asked]])
        compared = np.array([
            candidates(codes.data, codes.data[row], parts, int(radius))
            for row, radius in zip(rows[:asked], distances[:asked], strict=True)
        ])  # fmt: skip
        options.append((float(np.median(probed + compared)), parts, float(np.median(probed)), np.median(compared)))
    _, parts, probed, compared = min(options)
    heads = np.zeros((parts, 2 ** -(-_BITS // parts)), np.int32).reshape(-1)
    places = rng.integers(0, len(heads), max(int(probed), 1))
    words, met = codes.data.view(np.uint64), rng.permutation(len(codes))[: int(compared)]
    repeat = 1 if quick else 5
    return {
        "data": name, "n": len(database), "bits": _BITS, "k": _K, "low": low, "median": median, "high": high,
        "parts": parts, "probes": probed, "compared": float(compared),
        "fetch_seconds": _seconds(lambda: (heads.take(places), words.take(met, axis=0)), 40 * repeat),
        "search_seconds": _seconds(
            lambda: hn.hamming_topk(codes[rows], codes, _K, query_ids=rows, threads=1), repeat) / len(rows),
    }  # fmt: skip


def radii(n_bits: int, parts: int, radius: int) -> Iterator[tuple[int, int, int]]:
    """(first bit, end, distance to be probed) of each part: a code within `radius` is that near in one of them."""
    whole, rest = divmod(radius, parts)
    ends = np.linspace(0, n_bits, parts + 1).astype(int).tolist()
    for part in range(parts):
        yield ends[part], ends[part + 1], whole if part <= rest else whole - 1


def probes(n_bits: int, parts: int, radius: int) -> int:
    """Buckets to look up until every code within `radius` has been met."""
    return sum(math.comb(end - start, k) for start, end, near in radii(n_bits, parts, radius) for k in range(near + 1))


def candidates(database: np.ndarray, query: np.ndarray, parts: int, radius: int) -> int:
    """Rows of packed codes that lie in one of these buckets."""
    differing = np.unpackbits(database ^ query, axis=1, bitorder="little")
    bounds = list(radii(8 * database.shape[1], parts, radius))
    near = np.add.reduceat(differing, [start for start, _, _ in bounds], axis=1)
    return int((near.astype(np.int64) <= [limit for _, _, limit in bounds]).any(axis=1).sum())


def _seconds(call: Callable[[], object], repeat: int) -> float:
    """The least processor time of a few calls."""
    call()
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return min(spent)


def _draw(figure: Any, rows: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    series = {"probes": "probes", "rows compared": "compared", "rows of the database": "n"}
    report.bars(axes, [row["data"] for row in rows], {name: [row[key] for row in rows] for name, key in series.items()},
                "{:,.0f}")  # fmt: skip
    report.style(axes, f"Multi-index hashing up to the {_K}th neighbour, {_BITS} bits", "", "a query")
    report.legend(figure)
