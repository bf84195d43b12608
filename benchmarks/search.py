"""Exact top-k of codes, against FAISS and usearch.

A cell is a data set, n, n_bits, k and a number of threads. Rates are in 1e9 comparisons of a query with a code per
second (Gcmp/s), selection included. All sides hold the database as an index that was built before; FAISS searches
with a heap and by counting, usearch 64 queries at a time, since it keeps all pairs. Distances must be equal.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import hashneg as hn
from benchmarks import data, limit, report
from benchmarks.peers import load_faiss
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import alternate, medians, timed

_USEARCH_QUERIES = 64
_WARM_QUERIES = 8
_COMPARISONS = 1 << 28  # of a call, about
_CLOSEST = 6  # standard deviations below the mean: random codes do not come closer


class Cell(NamedTuple):
    data: str
    n: int
    n_bits: int
    k: int
    threads: int


def cells(setup: Setup) -> list[Cell]:
    """What is measured, in an order in which data sets are made once."""
    bits, ks, threads = (64, 128, 256, 512, 768, 1024), (10, 100, 1000), sorted({1, setup.threads})
    if setup.size == "tiny":
        return [Cell("random", 3000, 64, 10, 1), Cell("clustered", 3000, 128, 10, 1)]
    if setup.size == "full":
        grid = itertools.product(("random", "clustered"), (10**5, 10**6), bits, ks, threads)
        return [Cell(*cell) for cell in grid]
    if setup.size == "quick":
        chosen = {Cell("random", 10**5, n_bits, k, 1) for n_bits in (64, 256, 1024) for k in (10, 100)}
        chosen |= {Cell("random", 10**5, 256, 100, count) for count in threads}
        chosen |= {Cell("clustered", 10**5, 256, 100, 1)}
    else:
        chosen = {Cell("random", 10**6, n_bits, k, 1) for n_bits in bits for k in ks}
        chosen |= {Cell("random", 10**6, n_bits, 100, count) for n_bits in (256, 1024) for count in threads}
        chosen |= {Cell("random", 10**5, 256, k, 1) for k in (10, 100)}
        chosen |= {Cell("clustered", 10**5, n_bits, 100, 1) for n_bits in (256, 512)}
    return sorted(chosen, key=lambda cell: (cell.data == "clustered", *cell[1:]))


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    rows: list[dict[str, Any]] = []
    for (kind, n, n_bits), group in itertools.groupby(cells(setup), key=lambda cell: cell[:3]):
        say(f"search: {kind}, n = {n:,}, {n_bits} bits")
        contest = _Contest(setup, kind, n, n_bits)
        for cell in group:
            with use_threads(cell.threads):
                rows += contest.measure(cell)
    return _report(rows)


class _Contest:
    """The indexes of all contenders over one database."""

    def __init__(self, setup: Setup, kind: str, n: int, n_bits: int) -> None:
        self.setup = setup
        n_queries = int(np.clip(_COMPARISONS // n, 64, 1024))
        if kind == "random":
            self.database = data.random_codes(n, n_bits, seed=1)
            self.queries = data.random_codes(n_queries, n_bits, seed=2)
        else:
            self.database, self.queries = data.clustered_codes(n, n_bits, n_queries)
        for order in ("given", "clustered"):
            hn.HammingIndex(self.queries, order=order)  # compiles what lays codes out
        self.built: dict[str, float] = {}
        self.indexes: dict[str, hn.HammingIndex] = {}
        for name, order in [("hashneg", "given")] + [("hashneg clustered", "clustered")] * (kind == "clustered"):
            self.built[name] = timed(lambda name=name, order=order: self._build(name, order))
        self.faiss = None
        if setup.has("faiss"):
            faiss = load_faiss()
            self.faiss = faiss.IndexBinaryFlat(8 * self.database.data.shape[1])
            self.faiss.add(self.database.data)

    def _build(self, name: str, order: str) -> None:
        self.indexes[name] = hn.HammingIndex(self.database, order=order)

    def measure(self, cell: Cell) -> Iterator[dict[str, Any]]:
        calls = dict(self._contenders(cell))
        found = {name: call(_WARM_QUERIES) for name, (call, _) in calls.items()}  # compiles, and is compared
        runs = alternate({name: lambda c=call, m=m: c(m) for name, (call, m) in calls.items()}, self.setup.seconds)
        rates = {name: calls[name][1] * cell.n / spent / 1e9 for name, spent in medians(runs).items()}
        for name, rate in rates.items():
            yield {
                **cell._asdict(), "contender": name, "queries": calls[name][1], "runs": len(runs[name]),
                "gcmp_per_s": rate, "hashneg_is_faster_by": rates["hashneg"] / rate,
                "same_distances": bool(np.array_equal(found[name], found["hashneg"])),
                "build_s": self.built.get(name, math.nan),
            }  # fmt: skip
        if (
            cell.data == "random"
            and cell.k == 10
            and cell.threads == 1
            and cell.n == max(c.n for c in cells(self.setup))
        ):
            yield self._kernel(cell, rates["hashneg"])

    def _contenders(self, cell: Cell) -> Iterator[tuple[str, tuple[Callable[[int], np.ndarray], int]]]:
        """Name, function of a number of queries that returns distances, number of queries to time."""
        n_queries = len(self.queries)
        for name, index in self.indexes.items():
            yield name, (lambda m, i=index: i.topk(self.queries[:m], cell.k, threads=cell.threads).distances, n_queries)
        if self.faiss is not None:
            for name, heap in (("faiss heap", True), ("faiss counting", False)):
                yield name, (lambda m, heap=heap: self._faiss(m, cell.k, heap), n_queries)
        if (cell.n <= 10**5 or self.setup.size == "full") and self.setup.has("usearch"):
            yield "usearch exact", (lambda m: self._usearch(m, cell), min(_USEARCH_QUERIES, n_queries))

    def _faiss(self, m: int, k: int, heap: bool) -> np.ndarray:
        self.faiss.use_heap = heap
        return self.faiss.search(self.queries.data[:m], k)[0]

    def _usearch(self, m: int, cell: Cell) -> np.ndarray:
        from usearch.index import MetricKind, search

        found = search(
            self.database.data, self.queries.data[:m], cell.k, MetricKind.Hamming, exact=True, threads=cell.threads
        )
        return found.distances.reshape(m, -1).astype(np.int32)

    def _kernel(self, cell: Cell, rate: float) -> dict[str, Any]:
        """The rate where no code is near enough to survive, so that nothing but counting and comparing is left."""
        nearest = int(cell.n_bits / 2 - _CLOSEST * math.sqrt(cell.n_bits) / 2)
        index = self.indexes["hashneg"]
        runs = alternate(
            {"kernel": lambda: index.topk(self.queries, 1, max_distance=max(nearest, 0), threads=1)},
            self.setup.seconds / 2,
        )
        kernel = len(self.queries) * cell.n / medians(runs)["kernel"] / 1e9
        row = {
            **cell._asdict(), "k": 0, "contender": "hashneg, no survivors", "queries": len(self.queries),
            "runs": len(runs["kernel"]), "gcmp_per_s": kernel, "hashneg_is_faster_by": rate / kernel,
        }  # fmt: skip
        if (bound := limit.limit(self.queries.data, cell.n_bits)) is not None:
            row |= {
                "limit_gcmp_per_s": bound.gcmp, "share_of_limit": kernel / bound.gcmp, "ghz": bound.ghz,
                "operations": bound.operations, "loads": bound.loads,
            }  # fmt: skip
        return row


def _report(rows: list[dict[str, Any]]) -> report.Report:
    contenders = [name for name in dict.fromkeys(row["contender"] for row in rows) if "survivors" not in name]
    peers = [name for name in contenders if not name.startswith("hashneg")]
    by_cell = {(*(row[name] for name in Cell._fields), row["contender"]): row for row in rows}
    table = [["data", "n", "bits", "k", "threads", *contenders, *(f"× {name}" for name in peers), "× best peer"]]
    for cell in dict.fromkeys(key[:5] for key in by_cell if key[3]):
        of_cell = {name: by_cell[(*cell, name)] for name in contenders if (*cell, name) in by_cell}
        rate = {name: f"{row['gcmp_per_s']:.3g}" for name, row in of_cell.items()}
        best = max(row["gcmp_per_s"] for name, row in of_cell.items() if name.startswith("hashneg"))
        ratio = {name: best / of_cell[name]["gcmp_per_s"] for name in peers if name in of_cell}
        table.append([
            cell[0], f"{cell[1]:,}", *map(str, cell[2:]), *(rate.get(name, "") for name in contenders),
            *(f"{ratio[name]:.1f}" if name in ratio else "" for name in peers),
            f"{min(ratio.values()):.1f}" if ratio else "",
        ])  # fmt: skip
    different = [row for row in rows if row.get("same_distances") is False]
    notes = [
        "Distances of all contenders are equal." if not different else f"DISTANCES DIFFER in {len(different)} cells."
    ]
    notes += [
        f"Without survivors, {row['n_bits']} bits, one thread: {row['gcmp_per_s']:.2f} Gcmp/s, "
        f"{100 * row['share_of_limit']:.0f} % of the derived limit of {row['limit_gcmp_per_s']:.2f} "
        f"at {row['ghz']:.2f} GHz "
        f"({row['operations']:.0f} vector operations and {row['loads']:.0f} loads for a query and a block)."
        for row in rows
        if "share_of_limit" in row
    ]  # fmt: skip
    for cell, row in by_cell.items():
        single = by_cell.get((*cell[:4], 1, *cell[5:]))
        if cell[5] == "hashneg" and cell[4] > 1 and single is not None:
            gain = row["gcmp_per_s"] / single["gcmp_per_s"]
            notes.append(
                f"{cell[4]} threads are {gain:.2f} times as fast as one at {cell[2]} bits, k = {cell[3]} ({cell[0]})."
            )
    title = "Exact Hamming top-k: 1e9 comparisons per second, and how many times faster the better hashneg order is"
    return report.Report(title, rows, table, lambda figure: _draw(figure, rows), notes, bool(different))


def _draw(figure: Any, rows: list[dict[str, Any]]) -> None:
    """Rates against bits for one thread, a panel for each k, of the random codes of the largest n."""
    random = [row for row in rows if row["data"] == "random" and row["threads"] == 1 and row["k"]]
    n = max(row["n"] for row in random)
    ks = sorted({row["k"] for row in random if row["n"] == n})
    names = list(dict.fromkeys(row["contender"] for row in random if row["n"] == n))
    for axes, k in zip(figure.subplots(1, len(ks), sharey=True, squeeze=False)[0], ks, strict=True):
        for number, name in enumerate(names):
            points = sorted(
                (row["n_bits"], row["gcmp_per_s"])
                for row in random
                if (row["n"], row["k"], row["contender"]) == (n, k, name)
            )
            if points:
                axes.plot(
                    *zip(*points, strict=True), color=report.COLOURS[number], marker=report.MARKERS[number], label=name
                )
        axes.set_xscale("log", base=2)
        bits = sorted({row["n_bits"] for row in random if row["n"] == n})
        axes.set_xticks(bits, [str(count) for count in bits], rotation=45)
        axes.minorticks_off()
        report.log_scale(axes, "y")
        report.style(axes, f"k = {k}", "bits of a code", "1e9 comparisons per second" if k == ks[0] else "")
    report.legend(figure)
    figure.suptitle(f"Exact Hamming top-k, {n:,} random codes, one thread", fontsize=12)
