"""Unsupervised hashing of Fashion-MNIST: learned codes, ITQ and LSH on one encoder.

The 10,000 test images are searched for in the 60,000 training images by Hamming distance; mAP@1000 says how well the
nearest codes show the same class. An encoder is trained once a seed on augmented views, without labels, and frozen.
All methods are linear maps of its embeddings with thresholds: LSH draws the map, ITQ fits it to the embeddings, and the
others learn it from the embeddings of pairs of views. Runs are kept in hashing.jsonl beside the results, and only
missing ones are made: the first seed of all rows first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import report
from benchmarks.peak import peak_of
from benchmarks.runs import Runs, Setting, Summary
from benchmarks.setup import Setup, use_threads

FLOAT = "cosine, no codes"  # the yardstick
K = 1000


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="begin no run after this many minutes; 0 reports what there is")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation", action="store_true", help="split the training images instead, as for tuning")


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    if find_spec("torch") is None:
        raise SystemExit("this experiment trains with PyTorch: python -m pip install -e '.[torch]'")
    from benchmarks import hashing_encoder, hashing_methods

    limit = setup.choose(tiny=300, quick=10_000, default=None)
    images = hashing_encoder.fashion_mnist(limit, options.validation)  # type: ignore[arg-type]
    if images is None:
        raise SystemExit("without the images there is nothing to measure")
    experiment = Experiment(images, setup.choose(tiny=1, quick=2, default=4))  # type: ignore[arg-type]
    bits = setup.choose(tiny=(16,), quick=(16, 32, 64))
    planned = plan(hashing_methods.METHODS, bits, options.seeds, len(images.database), options.validation)  # type: ignore[arg-type]
    runs = Runs(options.results / "hashing.jsonl")
    with use_threads(setup.threads):
        runs.perform(planned, experiment.run, options.minutes)
        cost = cost_of_nsh(*setup.choose(tiny=(64, 4), quick=(1024, 16)))  # type: ignore[misc]
    return tabulate(runs, planned, (cost, *experiment.notes()))


def plan(methods: Sequence[str], bits: Sequence[int], seeds: int, n: int, validation: bool) -> list[Setting]:
    """All runs: the first seed of every row comes first."""
    part = {"images": n, **({"validation": True} if validation else {})}
    return [
        {"method": method, "bits": n_bits, "seed": seed, **part}
        for seed in range(seeds)
        for method, n_bits in (*((method, n_bits) for n_bits in bits for method in methods), (FLOAT, 0))
    ]


class Experiment:
    """Runs on one set of images; the encoder of a seed is trained once.

    Parameters
    ----------
    images : hashing_encoder.Images
    epochs : int
        Of the encoder.
    """

    def __init__(self, images: Any, epochs: int) -> None:
        self.images, self.epochs = images, epochs
        self.embedded = lru_cache(1)(self._embedded)

    def _embedded(self, seed: int) -> Any:
        from benchmarks.hashing_encoder import embedded, pretrained

        return embedded(pretrained(self.images.database, self.epochs, seed), self.images, seed)

    def run(self, setting: Setting) -> Mapping[str, Any]:
        """mAP, and the CPU seconds that the method took on top of the encoder."""
        from benchmarks.hashing_methods import quantizer

        embedded = self.embedded(setting["seed"])
        k = min(K, len(embedded.database))
        begun = time.process_time()
        if setting["method"] == FLOAT:
            found = hn.exact_topk(embedded.queries, embedded.database, k).indices
        else:
            learned = quantizer(setting["method"], setting["bits"], embedded, setting["seed"])
            queries, database = learned.encode(embedded.queries), learned.encode(embedded.database)
            found = hn.hamming_topk(queries, database, k).indices
        score = mean_average_precision(np.asarray(found), self.images.query_labels, self.images.database_labels)
        return {"map": score, "cpu_seconds": time.process_time() - begun}

    def notes(self) -> list[str]:
        n, queries = len(self.images.database), len(self.images.queries)
        return [
            f"mAP@{min(K, n)}: {queries:,} queries against {n:,} images; an image is relevant if its class is the "
            "query's. Of each query, the mean of the precision at the ranks of the relevant images found; a query "
            "that finds none counts 0. Equal distances are ordered by index.",
            "All rows of a seed have one frozen encoder: three convolutions, 128 dimensions, NT-Xent (epochs: "
            f"{self.epochs}). Every method is a linear map of its embeddings with a threshold for each bit.",
        ]


def mean_average_precision(found: np.ndarray, query_labels: np.ndarray, labels: np.ndarray) -> float:
    """Mean over queries of the average precision of what was found, int (nq, k)."""
    relevant = labels[found] == query_labels[:, None]
    precision = relevant.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    return float(((precision * relevant).sum(axis=1) / np.maximum(relevant.sum(axis=1), 1)).mean())


def cost_of_nsh(batch: int, m: int, dim: int = 128, n_bits: int = 64) -> str:
    """A sentence on what the loss costs in time and memory, forward and backward."""
    import torch

    rng = torch.Generator().manual_seed(0)
    inputs = [torch.randn(batch, size, generator=rng).requires_grad_() for size in (n_bits, dim, n_bits, dim)]

    def step() -> float:
        begun = time.process_time()
        hn.hashing.nsh(*inputs, m=m).backward()
        return time.process_time() - begun

    step()
    seconds, peak = peak_of(step)
    return (
        f"The loss of NSH for a batch of {batch}, {dim} dimensions, {n_bits} bits and m = {m} took {seconds:.2f} CPU "
        f"seconds forward and backward (threads: {torch.get_num_threads()}), and {peak / 1e6:.0f} MB."
    )


def tabulate(runs: Runs, planned: Sequence[Setting], notes: Sequence[str]) -> report.Report:
    rows = [{**setting, **found} for setting in planned if (found := runs.found(setting)) is not None]
    methods = list(dict.fromkeys(setting["method"] for setting in planned))
    bits = list(dict.fromkeys(setting["bits"] for setting in planned if setting["bits"]))

    def summary(method: str, n_bits: int) -> Summary:
        return runs.summary(planned, "map", method=method, bits=0 if method == FLOAT else n_bits)

    cells = {method: [summary(method, n_bits) for n_bits in bits] for method in methods}
    table = [["method", *(f"{n_bits} bits" for n_bits in bits), "seeds"]]
    for method, found in cells.items():
        counts = sorted({len(cell.values) for cell in found})
        whole = " of ".join(map(str, (counts[0], found[0].wanted)))
        table.append([method, *(cell.text() for cell in found), whole])
    complete = all(cell.complete for found in cells.values() for cell in found)
    first = "Mean and standard deviation over the seeds" + ("." if complete else "; some rows lack seeds.")

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, method in enumerate(name for name in methods if name != FLOAT):
            places = [i + 0.05 * (number - 2) for i in range(len(bits))]
            colour, found = report.COLOURS[number], cells[method]
            spreads = [cell.spread if len(cell.values) > 1 else 0 for cell in found]
            axes.errorbar(
                places, [cell.mean for cell in found], spreads, label=method, color=colour, capsize=3,
                marker=report.MARKERS[number], zorder=3,
            )  # fmt: skip
        if cells[FLOAT][0].values:
            axes.axhline(cells[FLOAT][0].mean, color="#888888", linestyle="--", linewidth=1, label=FLOAT)
        axes.set_xticks(range(len(bits)), [str(n_bits) for n_bits in bits])
        report.style(axes, "Unsupervised hashing of Fashion-MNIST", "bits", f"mAP@{K}")
        report.legend(figure)

    return report.Report("Unsupervised hashing of Fashion-MNIST", rows, table, draw, [first, *notes])
