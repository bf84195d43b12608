"""``hashneg plan``: what it prints, writes and refuses."""

import json
import sys

import numpy as np
import pytest
from helpers.nested import nested
from helpers.requirements import need

from hashneg.cli import main

FAST = ["--bits", "32,128", "--rerank", "0,4", "--n-queries", "40", "-k", "5"]


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", nested(600))
    return tmp_path / "x.npy"


def test_it_prints_a_table_and_writes_json_and_a_plot(file, tmp_path, capsys):
    need("matplotlib")
    out, plot = tmp_path / "plan.json", tmp_path / "plan.png"
    arguments = ["plan", str(file), *FAST, "--target-overlap", "0.8", "-o", str(out), "--plot", str(plot)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    made = json.loads(out.read_text())
    assert "600 rows, predicted from 40 anchors" in printed
    assert "overlap@5" in printed
    assert [(row["n_bits"], row["rerank"]) for row in made["rows"]] == [(32, 0), (32, 4), (128, 0), (128, 4)]
    assert made["choice"] == {"n_bits": 128, "rerank": 4}
    assert "128 bits with rerank=4 are enough" in printed
    assert all(row["seconds"] > 0 for row in made["rows"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_it_predicts_what_the_library_function_predicts(file, tmp_path, capsys):
    from hashneg import theory

    np.save(tmp_path / "q.npy", nested(100, seed=2))
    out = tmp_path / "plan.json"
    arguments = ["plan", str(file), "--queries", str(tmp_path / "q.npy"), *FAST, "--no-calibration", "-o", str(out)]
    assert main([*arguments, "--center", "none", "--rotation", "gaussian", "--seed", "3", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    expected = theory.plan(
        nested(600), 5, queries=nested(100, seed=2), n_bits=(32, 128), rerank=(0, 4), n_queries=40, center=None,
        rotation="gaussian", seed=3, calibration=False,
    )  # fmt: skip
    found = json.loads(out.read_text())["rows"]
    assert [row["overlap"] for row in found] == [row.overlap for row in expected.rows]
    assert {row["seconds"] for row in found} == {None}


def test_files_are_stacked(file, tmp_path, capsys):
    assert main(["plan", str(file), str(file), *FAST, "--no-calibration"]) == 0
    assert "1,200 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "64,x"], "--bits must be integers"),
        (["-k", "0"], "-k must be at least 1"),
        (["--n", "100000"], "is more than k=5 times"),
        (["--target-overlap", "2"], "--target-overlap must be at most 1"),
        (["--max-bytes", "-3"], "--max-bytes must be at least 0"),
        (["--rotation", "itq"], "not drawn at random"),
        (["--center", "median"], "--center must be one of"),
        (["--queries", "missing.npy"], "--queries: missing.npy is not a file"),
        (["--plot", "plan.txt"], "--plot plan.txt must end in .png"),
        (["--output", "missing/plan.json"], "must name a file in a folder that exists"),
        (["--bits", "0"], "--bits must be at least 1"),
    ],
)
def test_bad_input_is_told_in_one_line(file, arguments, message, capsys):
    assert main(["plan", str(file), *FAST, "--no-calibration", *arguments]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("hashneg: error: ")
    assert message in told


def test_a_plot_without_matplotlib_names_the_extra(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["plan", str(file), *FAST, "--no-calibration", "--plot", str(tmp_path / "p.png")]) == 2
    assert 'pip install "hashneg[demo]"' in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()
