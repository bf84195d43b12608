"""One run of the training experiment, from the first step to the scores on the held-out pairs."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks import training_data
from benchmarks.data import unit
from benchmarks.runs import Setting
from benchmarks.setup import say
from benchmarks.training_data import Pairs
from benchmarks.training_methods import METHODS, Clock, K, Method, angles, held_bytes, method
from benchmarks.training_model import Model, scores

BATCH = 128
RATES = {"text": 5e-3}  # learning rates at the start; other tasks have 1e-3
RANDOM_EPOCHS = 2  # before the first batches of neighbours
_SAMPLE = 512  # anchors by which overlap and staleness are measured
_MINING = ("fit", "keep", "encode", "refresh", "search")  # what a method spends beside the steps


@functools.cache
def pairs_of(task: str, n_train: int, n_test: int) -> Pairs:
    """The pairs of a task, read once."""
    say(f"training: reading the pairs of {task}")
    return training_data.load(task, n_train, n_test)


def warm_up(n: int = 20_000) -> None:
    """Load and compile what the methods use, which would otherwise count as mining of the first runs."""
    left, right = unit(np.random.default_rng(0).standard_normal((2 * n, 16), dtype=np.float32)).reshape(2, n, 16)
    for name in METHODS:
        if (finder := method(name, n)) is not None:
            finder.begin(lambda rows: (left[rows], right[rows]))
            finder.keep(np.arange(n), (left, right))
            finder.mine(lambda rows: (left[rows], right[rows]), Clock())


def train(setting: Setting) -> dict[str, Any]:
    """Make the run of a setting with the keys task, method, seed, epochs, pairs and test.

    Neighbours are mined after every epoch from the `RANDOM_EPOCHS`-th to the last but one. A run of one epoch mines
    after it, though nothing follows: that measures what mining costs.

    Returns
    -------
    dict
        R@1, R@5 and MRR@10; "steps", CPU seconds of an epoch's steps; "mining", CPU seconds of mining for an epoch,
        also by part; "share", of mining in both; "kept_mb", what is kept to mine from; "filled", the share of places in
        the last epoch's batches that went to neighbours; "mined", for each time (see `_measure`); "data", a checksum.
    """
    pairs = pairs_of(setting["task"], setting["pairs"], setting["test"])
    n, epochs, seed = len(pairs.train[0]), setting["epochs"], setting["seed"]
    finder = method(setting["method"], n)
    sampler = hn.HardBatchSampler(np.full((n, 1), -1), min(BATCH, n), seed=seed)
    hardest = 0.5 if setting["method"] == "batch-hard" else 1.0
    model = Model(setting["task"], pairs, epochs * len(sampler), seed, RATES.get(setting["task"], 1e-3), hardest)
    last = max(epochs - 2, 0)
    first = min(RANDOM_EPOCHS - 1, last)
    clock, seen, mined, filled = Clock(), np.zeros((n, 0), np.float32), [], 0.0
    for epoch in range(epochs):
        mines = finder is not None and first <= epoch <= last
        if mines and epoch == first:
            with clock("fit"):
                finder.begin(model.encode)
        sampler.set_epoch(epoch)
        with clock("compose"):
            filled = float((sampler.batches != sampler.anchors).mean())
        for ids in sampler:
            with clock("steps"):
                views = model.step(ids)
            if mines:
                with clock("keep"):
                    finder.keep(ids, views)
                seen = seen if seen.size else np.zeros((n, views[1].shape[1]), np.float32)
                seen[ids] = views[1]
        if mines:
            sampler.neighbours = found = finder.mine(model.encode, clock)
            mined.append({"epoch": epoch + 1, **_measure(finder, found, model, seen)})
    steps = clock["steps"] / epochs
    parts = {name: clock[name] / max(len(mined), 1) for name in _MINING}
    mining = sum(parts.values())
    return {
        **scores(*(model.embed(view) for view in pairs.test)), "steps": steps, "mining": mining,
        "share": mining / (mining + steps), **parts, "compose": clock["compose"] / epochs,
        "kept_mb": held_bytes(finder) / 1e6, "filled": filled, "mined": mined, "data": pairs.digest,
    }  # fmt: skip


def _measure(finder: Method, found: np.ndarray, model: Model, seen: np.ndarray) -> dict[str, float | None]:
    """What the neighbours are worth to the model of now: not part of the method, and not of its cost.

    Returns
    -------
    dict
        "overlap", overlap@K with exact cosine by fresh embeddings; "staleness", the mean angle between the embeddings
        that were mined and fresh ones, in radians; "drift", the table's estimate of it.
    """
    sample = np.linspace(0, len(found) - 1, min(_SAMPLE, len(found))).astype(np.int64)
    left, right = (model.embed(view[rows]) for view, rows in zip(model.pairs.train, (sample, slice(None)), strict=True))
    truth = hn.exact_topk(left, right, K, query_ids=sample).indices
    return {
        "overlap": float(hn.overlap_at_k(found[sample], truth).mean()),
        "staleness": 0.0 if finder.fresh else float(angles(seen[sample], right[sample]).mean()),
        "drift": finder.drift(sample, right[sample]),
    }
