"""The store of an experiment's runs."""

import math

import pytest

from benchmarks.runs import Runs

PLANNED = [{"method": method, "seed": seed} for seed in range(3) for method in ("a", "b")]


def test_a_run_is_made_once_and_survives_a_new_start(tmp_path):
    made = []

    def run(setting):
        made.append(setting)
        if len(made) == 4:
            raise KeyboardInterrupt
        return {"score": float(setting["seed"])}

    path = tmp_path / "folder" / "runs.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Runs(path).perform(PLANNED, run)
    assert made == PLANNED[:4]
    Runs(path).perform(PLANNED, run)
    assert made[4:] == PLANNED[3:]


def test_a_line_cut_off_by_a_crash_is_run_again_and_spoils_no_other(tmp_path):
    path = tmp_path / "runs.jsonl"
    Runs(path).perform(PLANNED[:2], lambda setting: {"score": 1.0})
    path.write_bytes(path.read_bytes()[:-9])
    runs = Runs(path)
    assert runs.found(PLANNED[0]) == {"score": 1.0}
    assert runs.found(PLANNED[1]) is None
    runs.keep(PLANNED[1], {"score": 2.0})
    assert Runs(path).found(PLANNED[0]) == {"score": 1.0}
    assert Runs(path).found(PLANNED[1]) == {"score": 2.0}


def test_a_summary_counts_the_runs_that_are_missing(tmp_path):
    runs = Runs(tmp_path / "runs.jsonl")
    runs.perform(PLANNED[:3], lambda setting: {"score": setting["seed"] + 0.5})
    a, b = (runs.summary(PLANNED, "score", method=method) for method in "ab")
    assert (a.mean, a.complete, a.wanted) == (1.0, False, 3)
    assert math.isclose(a.spread, math.sqrt(0.5))
    assert a.text() == "1.000 ± 0.707"
    assert b.text(".1f") == "0.5"
    assert runs.summary(PLANNED, "score", method="none").text() == "-"


def test_no_run_begins_after_the_time_is_over(tmp_path):
    runs = Runs(tmp_path / "runs.jsonl")
    runs.perform(PLANNED, lambda setting: {"score": 0.0}, minutes=-1)
    assert runs.found(PLANNED[0]) is None
