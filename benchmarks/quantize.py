"""Embeddings to packed codes: every rotation, against FAISS, NumPy and sentence-transformers.

Rates are in 1e6 vectors per second; fitting is outside the clock. The overlap is that of the Hamming top-128 with the
exact cosine top-128 for rows of the set "nested-clusters" (benchmarks/data.py). `quantize_embeddings` of
sentence-transformers only takes signs and packs, as rotation="identity" does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import data, report
from benchmarks.peers import load_faiss
from benchmarks.setup import Setup, say, use_threads
from benchmarks.timing import alternate, medians

_WARM_ROWS = 300
_K = 128
_QUERIES = 300


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    n = setup.choose(tiny=700, quick=10_000, default=20_000, full=50_000)
    shapes = setup.choose(
        tiny=((48, 32),), quick=((768, 512),), default=((384, 256), (768, 512), (1024, 1024)),
        full=((384, 256), (384, 384), (768, 512), (768, 768), (1024, 512), (1024, 1024)),
    )  # fmt: skip
    rows = []
    for dim, n_bits in shapes:
        say(f"quantize: {dim} -> {n_bits}")
        x = data.unit(np.concatenate(list(data.nested_clusters(0, n, dim))))
        overlap = _Overlap(x)
        for threads in setup.choose(tiny=(1,), full=sorted({1, setup.threads})):
            with use_threads(threads):
                rows += _measure(setup, x, n_bits, threads, overlap)
    return _report(rows)


def _measure(setup: Setup, x: np.ndarray, n_bits: int, threads: int, overlap: _Overlap) -> Iterator[dict[str, Any]]:
    calls = dict(_contenders(setup, x, n_bits))
    overlaps = {
        name: overlap.of(call(x), n_bits if "signs" not in name else x.shape[1]) for name, call in calls.items()
    }
    for call in calls.values():
        call(x[:_WARM_ROWS])
    runs = alternate({name: lambda c=call: c(x) for name, call in calls.items()}, setup.seconds)
    spent = medians(runs)
    for name, seconds in spent.items():
        yield {
            "dim": x.shape[1], "n_bits": n_bits if "signs" not in name else x.shape[1], "n": len(x),
            "threads": threads, "contender": name, "runs": len(runs[name]), "m_vectors_per_s": len(x) / seconds / 1e6,
            "times_faiss": spent["faiss sa_encode"] / seconds if "faiss sa_encode" in spent else math.nan,
            "overlap_at_128": overlaps[name],
        }  # fmt: skip


def _contenders(setup: Setup, x: np.ndarray, n_bits: int) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    dim = x.shape[1]
    rotations = ["orthogonal", "hadamard", "gaussian"] + ["itq"] * (n_bits <= dim)
    for rotation in rotations:
        quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation).fit(x)
        yield f"hashneg {rotation}", lambda part, quantizer=quantizer: quantizer.encode(part).data
    signs = hn.BinaryQuantizer(dim, rotation="identity", center=None).fit(x)
    yield "hashneg identity (signs only)", lambda part: signs.encode(part).data
    orthogonal = hn.BinaryQuantizer(n_bits).fit(x)
    matrix = np.ascontiguousarray(
        orthogonal.project(np.eye(dim, dtype=np.float32)) + orthogonal.thresholds.astype(np.float32)
    )
    thresholds = orthogonal.thresholds.astype(np.float32)
    yield "numpy matmul + packbits", lambda part: np.packbits(part @ matrix >= thresholds, axis=1, bitorder="little")
    if setup.has("faiss"):
        faiss = load_faiss()
        index = faiss.IndexLSH(dim, n_bits, True, True)  # rotated, with trained thresholds
        index.train(x)
        yield "faiss sa_encode", index.sa_encode
    if setup.has("sentence_transformers"):
        from sentence_transformers.util.quantization import quantize_embeddings

        yield "sentence-transformers (signs only)", lambda part: quantize_embeddings(part, "ubinary")


class _Overlap:
    """Compares codes of a set with its exact neighbours."""

    def __init__(self, x: np.ndarray) -> None:
        self.queries = np.linspace(0, len(x) - 1, min(_QUERIES, len(x))).astype(np.int64)
        self.k = min(_K, len(x) - 1)
        self.truth = hn.exact_topk(x[self.queries], x, self.k, query_ids=self.queries).indices

    def of(self, codes: np.ndarray, n_bits: int) -> float:
        """The mean overlap@128; the order of bits in a byte does not matter."""
        found = hn.hamming_topk(codes[self.queries], codes, self.k, query_ids=self.queries).indices
        return float(hn.overlap_at_k(found, self.truth).mean(dtype=np.float64))


def _report(rows: list[dict[str, Any]]) -> report.Report:
    table = [["d → bits", "threads", "contender", "1e6 vectors / s", "× faiss sa_encode", "overlap@128"]]
    for row in rows:
        ratio = row["times_faiss"]
        table.append([
            f"{row['dim']} → {row['n_bits']}", str(row["threads"]), row["contender"], f"{row['m_vectors_per_s']:.3g}",
            "" if math.isnan(ratio) else f"{ratio:.2f}", f"{row['overlap_at_128']:.3f}",
        ])  # fmt: skip

    def draw(figure: Any) -> None:
        threads = min(row["threads"] for row in rows)
        chosen = [row for row in rows if row["threads"] == threads and "signs only" not in row["contender"]]
        shapes = list(dict.fromkeys((row["dim"], row["n_bits"]) for row in chosen))
        rates = {(row["contender"], row["dim"], row["n_bits"]): row["m_vectors_per_s"] for row in chosen}
        names = list(dict.fromkeys(row["contender"] for row in chosen))
        axes = figure.add_subplot()
        series = {name: [rates.get((name, *shape), math.nan) for shape in shapes] for name in names}
        report.bars(axes, [f"{dim} → {n_bits} bits" for dim, n_bits in shapes], series)
        report.style(
            axes, f"Embeddings to packed codes, {threads} thread{'s' * (threads > 1)}", "", "1e6 vectors per second"
        )
        report.legend(figure)

    return report.Report("Quantizing: 1e6 vectors per second, and overlap with exact cosine", rows, table, draw)
