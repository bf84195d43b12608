"""The hashing experiment: its measure, its plan, and that every method trains, on images of four patterns."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from helpers.requirements import need

from benchmarks import hashing
from benchmarks.runs import Runs
from benchmarks.setup import Setup

ALL = ("LSH", "ITQ", "bi-half", "CIBHash-style", "NSH")


def test_average_precision_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    labels, query_labels = rng.integers(0, 5, 40), np.append(rng.integers(0, 5, 12), 9)  # nothing shows class 9
    found = np.stack([rng.permutation(40)[:11] for _ in query_labels])
    means = []
    for wanted, row in zip(query_labels, found, strict=True):
        hits, precisions = 0, []
        for rank, index in enumerate(row, start=1):
            if labels[index] == wanted:
                hits += 1
                precisions.append(hits / rank)
        means.append(sum(precisions) / hits if hits else 0.0)
    assert means[-1] == 0
    assert hashing.mean_average_precision(found, query_labels, labels) == pytest.approx(np.mean(means))


def test_the_first_seed_of_every_row_comes_first():
    planned = hashing.plan(ALL, (16, 32, 64), 3, 60_000, validation=False)
    seeds = [setting["seed"] for setting in planned]
    assert seeds == sorted(seeds)
    assert len({tuple(setting.items()) for setting in planned}) == len(planned) == 3 * (3 * 5 + 1)
    tuning = hashing.plan(ALL, (16, 32, 64), 3, 60_000, validation=True)
    assert not any(setting in planned for setting in tuning)


def patterns(n: int, seed: int):
    """Noisy images (n, 1, 28, 28) of four patterns, and which it is."""
    torch = need("torch")
    rng = np.random.default_rng(seed)
    shapes = np.kron(np.random.default_rng(9).random((4, 7, 7)), np.ones((4, 4)))
    shapes = (shapes + shapes[:, :, ::-1]) / 2  # views may be mirrored
    labels = rng.integers(0, 4, n)
    pixels = 255 * np.clip(shapes[labels] + 0.1 * rng.standard_normal((n, 28, 28)), 0, 1)
    return torch.from_numpy(pixels.astype(np.uint8))[:, None], labels


@pytest.fixture(scope="module")
def experiment():
    need("torch")
    from benchmarks.hashing_encoder import Images

    (database, database_labels), (queries, query_labels) = patterns(256, 0), patterns(32, 1)
    return hashing.Experiment(Images(database, queries, database_labels, query_labels), epochs=1)


def test_the_command_makes_missing_runs_only(experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks import hashing_encoder

    asked = []
    monkeypatch.setattr(hashing_encoder, "fashion_mnist", lambda *about: asked.append(about) or experiment.images)
    options = argparse.Namespace(validation=True, seeds=1, minutes=None, results=tmp_path)
    first = hashing.run(Setup("tiny"), options)
    kept = (tmp_path / "hashing.jsonl").read_text(encoding="utf-8")
    assert kept.count("\n") == len(first.rows) == len(ALL) + 1
    assert hashing.run(Setup("tiny"), options).table == first.table
    assert (tmp_path / "hashing.jsonl").read_text(encoding="utf-8") == kept
    assert asked == [(300, True)] * 2


@pytest.mark.parametrize("method", [*ALL, hashing.FLOAT])
def test_every_method_is_repeatable_and_better_than_chance(experiment, method):
    setting = {"method": method, "bits": 13, "seed": 0}
    found = experiment.run(setting)
    assert found["map"] > 0.35  # a random order has about 0.27
    assert experiment.run(setting)["map"] == found["map"]
    assert experiment.embedded.cache_info().misses == 1  # one encoder serves all rows of a seed


def test_the_table_says_what_is_missing(tmp_path: Path):
    planned = hashing.plan(("LSH", "NSH"), (16, 32), 2, 100, validation=False)
    runs = Runs(tmp_path / "hashing.jsonl")
    for setting in planned:
        if setting["seed"] == 0 or setting["method"] == "NSH":
            runs.keep(setting, {"map": 0.5 + setting["bits"] / 100 + setting["seed"] / 10, "cpu_seconds": 1.0})
    found = hashing.tabulate(runs, planned, ["a note"])
    assert found.table == [
        ["method", "16 bits", "32 bits", "seeds"],
        ["LSH", "0.660", "0.820", "1 of 2"],
        ["NSH", "0.710 ± 0.071", "0.870 ± 0.071", "2 of 2"],
        [hashing.FLOAT, "0.500", "0.500", "1 of 2"],
    ]
    assert "some rows lack seeds" in found.notes[0]
    assert len(found.rows) == 7
