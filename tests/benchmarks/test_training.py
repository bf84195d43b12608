"""The training experiment on made-up pairs: its methods, its measurements, and the page it writes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.requirements import need

import hashneg as hn
from benchmarks import training, training_data, training_methods, training_page
from benchmarks.runs import Runs

N, DIM = 300, 32
SETTING = {"task": "made up", "seed": 0, "pairs": 140, "test": 40, "epochs": 4}
WITHOUT_TIMES = ("R@1", "R@5", "MRR@10", "filled", "mined", "data", "kept_mb")


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    left, noise = rng.standard_normal((2, N, DIM), dtype=np.float32)
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (left, left + 0.5 * noise))


@pytest.mark.parametrize("name", [name for name in training_methods.METHODS if name not in ("random", "batch-hard")])
def test_a_method_mines_what_it_kept(name, views):
    """Exact methods find the neighbours by exact cosine, codes most of them, and none a pair's own other view."""
    method = training_methods.method(name, N)

    def encode(rows):
        return tuple(view[rows] for view in views)

    method.begin(encode)
    for ids in np.random.default_rng(1).permutation(N).reshape(-1, 30):
        method.keep(ids, encode(ids))
    clock = training_methods.Clock()
    found = method.mine(encode, clock)
    assert found.shape == (N, training_methods.K)
    assert not (found == np.arange(N)[:, None]).any()
    cosine = views[0].astype(np.float64) @ views[1].T
    np.fill_diagonal(cosine, -2)
    truth = np.argsort(-cosine, axis=1)[:, : training_methods.K]
    overlap = hn.overlap_at_k(found, truth).mean()
    assert overlap > 0.999 if name in ("full", "incremental") else 0.7 < overlap < 0.999
    assert clock["search"] > 0
    moved = np.roll(views[1], 1, axis=1)
    drift = method.drift(np.arange(N), moved)
    if drift is not None:
        assert drift == pytest.approx(training_methods.angles(views[1], moved).mean(), abs=0.1)


def test_more_bits_come_nearer_to_exact_cosine(views):
    def encode(rows):
        return tuple(view[rows] for view in views)

    def found(name):
        method = training_methods.method(name, N)
        method.begin(encode)
        method.keep(np.arange(N), views)
        return method.mine(encode, training_methods.Clock())

    truth = found("full")
    few, more, many = (hn.overlap_at_k(found(f"hashneg {bits} epoch"), truth).mean() for bits in (64, 256, 1024))
    assert few < more < many


@pytest.mark.parametrize("name", ["batch-hard", "full", "hashneg 256 live"])
def test_a_run_depends_on_its_setting_alone(name):
    need("torch")
    from benchmarks import training_run

    first, second = (training_run.train({**SETTING, "method": name}) for _ in range(2))
    assert all(first[value] == second[value] for value in WITHOUT_TIMES)
    other = training_run.train({**SETTING, "method": name, "seed": 1})
    assert other["data"] == first["data"]
    if name != "batch-hard":  # which mines nothing
        assert first["filled"] > 0.3
        assert [entry["epoch"] for entry in first["mined"]] == [2, 3]
    if name == "hashneg 256 live":
        assert other["mined"] != first["mined"]


def test_full_mining_is_exact_and_fresh():
    need("torch")
    from benchmarks import training_run

    mined = training_run.train({**SETTING, "method": "full"})["mined"]
    assert [entry["overlap"] for entry in mined] == [1.0, 1.0]
    assert [entry["staleness"] for entry in mined] == [0.0, 0.0]


def test_the_hardest_negatives_are_kept_and_the_positive_too():
    torch = need("torch")
    from benchmarks.training_model import hardest_negatives

    cosines = torch.rand(9, 9, generator=torch.Generator().manual_seed(0))
    weights = hardest_negatives(cosines, 0.5)
    assert (weights.sum(dim=1) == 5).all()
    assert (weights.diagonal() == 1).all()
    off = ~torch.eye(9, dtype=torch.bool)
    for row in range(9):
        kept, left_out = cosines[row][off[row] & (weights[row] == 1)], cosines[row][weights[row] == 0]
        assert kept.min() >= left_out.max()


def test_scores_count_ranks():
    need("torch")
    from benchmarks.training_model import scores

    right = np.eye(4, dtype=np.float32)
    left = right.copy()
    left[3] = [0.9, 0.5, 0.5, 0.2]  # its own comes last of four
    assert scores(left, right) == {"R@1": 0.75, "R@5": 1.0, "MRR@10": pytest.approx((3 + 1 / 4) / 4)}


def test_held_bytes_counts_each_buffer_once():
    codes = hn.Codes.from_signs(np.random.default_rng(0).standard_normal((512, 64)))
    index = hn.HammingIndex(codes)
    index.topk(codes, 3)
    held = training_methods.held_bytes(index)
    assert 2 * codes.data.nbytes < held <= 2 * codes.data.nbytes + 16 * 512  # codes, the layout searched, bookkeeping
    x = np.zeros((10, 8))
    assert training_methods.held_bytes([x, x[2:], {"view": x.T}]) == 640


def test_the_page_tells_what_is_complete(tmp_path):
    planned = training.planned("tiny")
    runs = Runs(tmp_path / "training.jsonl")
    found = {
        "R@1": 0.5, "R@5": 0.6, "MRR@10": 0.55, "steps": 9.0, "mining": 1.0, "share": 0.1, "kept_mb": 2.0,
        "mined": [{"epoch": 2, "overlap": 0.75, "staleness": 0.25, "drift": None}],
    }  # fmt: skip
    left_out = [s for s in planned if s["method"] == "hashneg 512 live" and s["seed"] == 2]
    for setting in (s for s in planned if s not in left_out):
        ahead = 0.02 if setting["method"] == "hashneg 512 epoch" else 0.0
        scores = {"R@1": 0.5 + ahead + 0.1 * setting["seed"]}
        nothing = {"mined": []} if setting["method"] in ("random", "batch-hard") else {}
        runs.keep(setting, {**found, **scores, **nothing})
    report = training_page.report_of(runs, planned)
    lines = {line[1]: line for line in report.table[1:]}
    assert list(lines) == list(training_methods.METHODS)
    assert lines["full"][2:4] == ["3 of 3", "0.6000 ± 0.1000"]
    assert lines["hashneg 512 live"][2:4] == ["2 of 3", "0.5500 ± 0.0707"]
    assert lines["hashneg 128 live"][2] == "3 of 3"
    assert lines["full"][6:] == ["1.00 ± 0.00", "10.0 %", "2.0", "0.750", "0.250"]
    mining = [s for s in planned if s["method"] not in ("random", "batch-hard")]
    assert len(report.rows) == len(planned) + len(mining) - 2 * len(left_out)  # a line for each run and each mining
    need("matplotlib")
    from matplotlib.figure import Figure

    report.draw(figure := Figure())
    places = {label.get_text(): place for place, label in enumerate(figure.axes[0].get_yticklabels())}
    drawn = {line.get_ydata()[0]: line for line in figure.axes[0].lines if line.get_marker() == "o"}
    assert list(drawn[places["full"]].get_xdata()) == [0.5, 0.6, 0.7]
    assert any(
        "hashneg 512 epoch, R@1, difference by seed: +0.0200 ± 0.0000 against full" in note for note in report.notes
    )


def test_no_file_has_functions_in_both_parts(monkeypatch):
    from hashneg.cli.demo import corpus

    monkeypatch.setattr(training_data, "_PACKAGES", ())
    made = [
        corpus.Pair(f"f{i}", f"file{i // 3}.py:{i}", f"says what number{i} does", f"return number{i}")
        for i in range(90)
    ]
    monkeypatch.setattr(corpus, "read_pairs", lambda root=None: made)
    pairs = training_data.load("text", 50, 17)
    words = [{word for text in part[1] for word in text} for part in (pairs.train, pairs.test)]
    assert [len(view) for view in (*pairs.train, *pairs.test)] == [50, 50, 17, 17]
    hashed = {i: training_data._buckets(f"number{i}", 4)[0] for i in range(90)}
    files = [{i // 3 for i in hashed if hashed[i] in part} for part in words]
    assert len(files[1]) == 6
    assert len(files[0]) == 17
    assert not files[0] & files[1]
