"""Unsupervised hashing of Fashion-MNIST: learned codes, ITQ and LSH on one encoder.

The 10,000 test images are searched for in the 60,000 training images by Hamming distance; mAP@1000 says how well the
nearest codes show the same class. An encoder is trained once a seed on augmented views, without labels. Each learned
method goes on from it, with a head that gives the bits; LSH and ITQ quantize the encoder after as many more epochs.
Runs are kept in hashing.jsonl beside the results, and only missing ones are made: the first seed of all rows first.
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
    experiment = Experiment(images, *setup.choose(tiny=(1, 1), quick=(2, 1), default=(4, 2)))  # type: ignore[misc]
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
    """Runs on one set of images; the encoders of a seed are trained once.

    Parameters
    ----------
    images : hashing_encoder.Images
    epochs : int
        Of the encoder.
    more : int
        Epochs that follow, with or without codes.
    """

    def __init__(self, images: Any, epochs: int, more: int) -> None:
        self.images, self.epochs, self.more = images, epochs, more
        self.encoder = lru_cache(1)(self._encoder)
        self.continued = lru_cache(1)(self._continued)

    def _encoder(self, seed: int) -> Any:
        from benchmarks.hashing_encoder import pretrained

        return pretrained(self.images.database, self.epochs, seed)

    def _continued(self, seed: int) -> Any:
        """Embeddings of queries and database without a hash head."""
        from benchmarks.hashing_methods import continued

        encoder = continued(self.encoder(seed), self.images, self.more, seed)
        return encoder.embed(self.images.queries), encoder.embed(self.images.database)

    def run(self, setting: Setting) -> Mapping[str, Any]:
        """mAP, and the CPU seconds of the row: shared training counts for the run that first needs it."""
        from benchmarks import hashing_methods

        method, n_bits, seed = setting["method"], setting["bits"], setting["seed"]
        begun = time.process_time()
        if method in hashing_methods.LEARNED:
            encoder, quantizer = hashing_methods.learned(
                method, n_bits, self.encoder(seed), self.images, self.more, seed
            )
            queries, database = encoder.embed(self.images.queries), encoder.embed(self.images.database)
        else:
            queries, database = self.continued(seed)
        k = min(K, len(database))
        if method == FLOAT:
            found = hn.exact_topk(queries, database, k).indices
        else:
            if method in hashing_methods.FITTED:
                quantizer = hashing_methods.fitted(method, n_bits, database, seed)
            found = hn.hamming_topk(quantizer.encode(queries), quantizer.encode(database), k).indices
        score = mean_average_precision(np.asarray(found), self.images.query_labels, self.images.database_labels)
        return {"map": score, "cpu_seconds": time.process_time() - begun}

    def notes(self) -> list[str]:
        n, queries = len(self.images.database), len(self.images.queries)
        return [
            f"mAP@{min(K, n)}: {queries:,} queries against {n:,} images; an image is relevant if its class is the "
            "query's. Of each query, the mean of the precision at the ranks of the relevant images found; a query "
            "that finds none counts 0. Equal distances are ordered by index.",
            "All rows of a seed begin with one encoder: three convolutions, NT-Xent of two views, epochs: "
            f"{self.epochs}. The learned codes train it on with their head and loss, on the same views, epochs: "
            f"{self.more}. LSH and ITQ quantize it after as many more epochs of NT-Xent, and the cosine is that of "
            "the same embeddings.",
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
        f"seconds forward and backward on {torch.get_num_threads()} thread(s), and {peak / 1e6:.0f} MB."
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
        texts = ["", *([""] * (len(bits) - 2)), found[0].text()] if method == FLOAT else [x.text() for x in found]
        table.append([method, *texts[-len(bits) :], whole])
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
