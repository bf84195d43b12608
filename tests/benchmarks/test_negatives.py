"""The experiment with negatives: its plan, the training on a small task, the judgement, and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.requirements import need

torch = need("torch")
ROOT = Path(__file__).parents[2]
N, CLASSES, DIM = 240, 6, 12


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def groups():
    """Points around six centres; a view moves a point a little."""
    from benchmarks.negatives_tasks import Encoder, Task

    class Groups(Task):
        def view(self, items, rng):
            return items + 0.3 * torch.randn(items.shape, generator=rng)

        def encoder(self):
            return Encoder(torch.nn.Sequential(torch.nn.Linear(DIM, 16), torch.nn.ReLU()), 16)

    rng = torch.Generator().manual_seed(3)
    labels = torch.arange(N) % CLASSES
    centres = 2 * torch.randn((CLASSES, DIM), generator=rng)
    items = centres[labels] + 0.5 * torch.randn((N, DIM), generator=rng)
    return Groups(items, items, labels, labels, temperature=0.2, learning_rate=5e-3)


def test_the_plan_begins_with_one_seed_of_every_row():
    from benchmarks.negatives import planned
    from benchmarks.setup import Setup

    plan = planned(Setup(), {"images": {"items": 10}, "functions": {"items": 20}}, 8)
    rows = [tuple(run[name] for name in ("task", "method", "batches")) for run in plan]
    first = [row for row, run in zip(rows, plan, strict=True) if run["seed"] == 0]
    assert len(plan) == 62
    assert len(set(first)) == len(first) == 34
    assert rows[: len(first)] == first
    assert {row[1] for row in rows[len(first) :]} == {"InfoNCE", "InfoNCE, as long as UnReMix", "HCL", "UnReMix"}
    steps = {run["method"]: run["steps"] for run in plan if run["task"] == "functions"}
    assert steps["InfoNCE, as long as UnReMix"] == 1.4 * steps["InfoNCE"] == 1.4 * steps["UnReMix"]


def test_every_method_trains_by_its_seed_and_mined_batches_hold_neighbours():
    from benchmarks import negatives
    from benchmarks.negatives_training import LOSSES, judge, train

    assert tuple(LOSSES) == tuple(dict.fromkeys(map(negatives._loss_of, negatives.METHODS)))
    task = groups()
    weights = {}
    for method in LOSSES:
        model, found = train(task, method, False, 1, 6, 40)
        weights[method] = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        assert found["mine_seconds"] == 0
    assert judge(model, task)["knn"] > 0.9
    again, _ = train(task, "MoCHi", False, 1, 6, 40)
    assert torch.equal(weights["MoCHi"], torch.nn.utils.parameters_to_vector(again.parameters()))
    values = list(weights.values())
    assert not any(torch.allclose(a, b) for i, a in enumerate(values) for b in values[:i])
    random, mined = (train(task, "InfoNCE", mined, 1, 18, 40)[1]["same_label"] for mined in (False, True))
    assert random == pytest.approx(1 / CLASSES, abs=0.03)
    assert mined > 1.3 * random


def test_the_judges_know_what_can_be_told_and_what_cannot():
    from benchmarks.negatives_training import _linear_probe, _nearest_neighbours

    rng = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 4
    x = torch.nn.functional.one_hot(y, 6) + 0.1 * torch.randn((400, 6), generator=rng)
    for judge in (_linear_probe, _nearest_neighbours):
        assert judge(x[:200], y[:200], x[200:], y[200:]) == 1.0
        noise = torch.randn((400, 6), generator=rng)
        assert judge(noise[:200], y[:200], noise[200:], y[200:]) == pytest.approx(0.25, abs=0.12)


def test_a_view_of_a_function_is_a_passage_without_some_words():
    from benchmarks.negatives_tasks import Functions

    items = torch.zeros((50, 256), dtype=torch.int64)
    lengths = np.random.default_rng(0).integers(24, 257, 50)
    for item, length in zip(items, lengths, strict=True):
        item[:length] = torch.arange(1, int(length) + 1)
    task = Functions(items, items, lengths, lengths, 0.1, 1e-3)
    view = task.view(items, torch.Generator().manual_seed(0))
    for row, length in zip(view.tolist(), lengths, strict=True):
        kept = [word for word in row if word]
        assert kept == sorted(set(kept))  # in order, none twice
        assert 0 < len(kept) <= max(8, 0.8 * length)
        assert kept[-1] - kept[0] < min(64, max(8, 0.8 * length))
    assert torch.equal(view, task.view(items, torch.Generator().manual_seed(0)))


def test_a_view_of_an_image_is_part_of_it_or_of_its_mirror_image():
    from benchmarks.negatives_tasks import Images

    columns = torch.arange(28.0).expand(200, 1, 28, 28)
    task = Images(columns, columns, None, None, 0.1, 1e-3)
    view = task.view(columns, torch.Generator().manual_seed(0))
    slopes = (view[:, 0, 14, 20] - view[:, 0, 14, 8]) / 12  # of a ramp: size times contrast, its sign tells the mirror
    assert view.shape == columns.shape
    assert 60 < int((slopes < 0).sum()) < 140
    assert 0.45 * 0.6 - 1e-3 <= float(slopes.abs().min()) < float(slopes.abs().max()) <= 1.4 + 1e-3


def test_the_table_says_which_rows_are_complete(tmp_path):
    from benchmarks.negatives import planned, summarize
    from benchmarks.runs import Runs
    from benchmarks.setup import Setup

    plan = planned(Setup(), {"functions": {"items": 20}}, 8)
    runs = Runs(tmp_path / "runs.jsonl")
    done = {("InfoNCE", 0): 0.5, ("InfoNCE", 1): 0.7, ("UnReMix", 0): 0.6, ("UnReMix", 1): 0.7, ("UnReMix", 2): 0.9}
    for setting in plan:
        value = done.get((setting["method"], setting["seed"]))
        if value is not None and setting["batches"] == "random":
            runs.keep(setting, {"linear": value, "knn": value / 2, "same_label": 0.1, "train_seconds": 1.0,
                                "mine_seconds": 0.0})  # fmt: skip
    report = summarize(runs, plan)
    rows = {(line[1], line[2]): line for line in report.table}
    assert rows["random", "InfoNCE"][3] == "0.600 ± 0.141"
    assert rows["random", "InfoNCE"][-1] == "2 of 3"
    assert rows["random", "UnReMix"][-1] == "3 of 3"
    assert rows["mined", "MoCHi"][3:5] + rows["mined", "MoCHi"][-1:] == ["-", "-", "0 of 1"]
    assert len(report.rows) == 5
    assert any("UnReMix less InfoNCE: linear probe +0.050 ± 0.071" in note for note in report.notes)  # of two seeds
