"""The demo from start to end, and what it says where something is missing."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.requirements import need

from hashneg.cli import main
from hashneg.cli.demo import compare, corpus, run

BITS = (128, 256, 512, 1024)
DEPTHS = (16, 128)
FILES = ("overlap.png", "overlap.csv", "negatives.jsonl")


def test_the_whole_demo(tmp_path: Path) -> None:
    """One run of the command in a process of its own; it takes seconds, so one test looks at everything."""
    for module in ("sklearn", "matplotlib", "typer", "rich", "pyarrow"):
        need(module)
    out = tmp_path / "new" / "folder"
    command = [sys.executable, "-m", "hashneg.cli.demo", "--quick", "--limit", "500", "--threads", "2", "--out", out]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == set(FILES)
    check_overlaps(overlaps(out / "overlap.csv"))
    check_negatives(out / "negatives.jsonl")
    check_plot(out / "overlap.png")
    check_text(done.stdout, out)
    assert "measuring overlap" in done.stderr  # progress


def overlaps(path: Path) -> dict[tuple[int, int, int], float]:
    with open(path, newline="", encoding="utf-8") as file:
        return {
            (int(row["n_bits"]), int(row["k"]), int(row["rerank"])): float(row["overlap"])
            for row in csv.DictReader(file)
        }


def check_overlaps(table: dict[tuple[int, int, int], float]) -> None:
    """Overlap is a share, and rerank does not lower it."""
    assert set(table) == {(n_bits, k, rerank) for n_bits in BITS for k in DEPTHS for rerank in (0, 4)}
    assert all(0 < share <= 1 for share in table.values())
    for n_bits in BITS:
        for k in DEPTHS:
            assert table[n_bits, k, 4] >= table[n_bits, k, 0]
    assert table[1024, 16, 4] > 0.95
    assert table[128, 16, 0] < table[1024, 16, 0]


def check_negatives(path: Path) -> None:
    """Negatives are below the positive by the margin, and never the positive itself."""
    with open(path, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    assert len(records) == 500
    assert sum(len(record["negatives"]) for record in records) > 0.5 * 16 * len(records)
    for row, record in enumerate(records):
        assert record["row"] == row
        assert record["docstring"]
        assert record["body"]
        scores = [negative["score"] for negative in record["negatives"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) <= 16
        limit = record["score"] - compare.MARGIN * abs(record["score"])
        for negative in record["negatives"]:
            assert negative["row"] != row
            assert negative["name"] == records[negative["row"]]["name"]
            assert negative["score"] <= limit + 2e-6


def check_plot(path: Path) -> None:
    """The plot is a PNG with something on it."""
    image = need("matplotlib.image").imread(path)
    assert image.shape[0] > 600
    assert image.shape[1] > 1000
    assert image.std() > 0.05


def check_text(text: str, out: Path) -> None:
    """Compilation, times, memory, overlaps, examples and paths are printed."""
    assert re.search(r"^[4-9],\d\d\d pairs", text, re.MULTILINE)
    assert "500 of them are used" in text
    for heading in ("Compilation", "Warm time and memory", "Overlap with exact cosine", "Some anchors"):
        assert heading in text
    assert re.search(r"^hashneg, codes of 128, 256, 512, 1024 bits( +[\d.]+ s){3}$", text, re.MULTILINE)
    assert re.search(r"^exact cosine: exact_topk +[\d.]+ s +[\d.]+ MB +[\d.]+ MB$", text, re.MULTILINE)
    table = overlaps(out / "overlap.csv")
    for n_bits in BITS:
        shares = [f"{table[n_bits, k, rerank]:.3f}" for k in DEPTHS for rerank in (0, 4)]
        assert re.search(rf"^{n_bits} +{' +'.join(shares)}$", text, re.MULTILINE)
    for name in FILES:
        assert f"  {out / name}" in text
    assert len(re.findall(r"^    \d\.\d{3} \+ ", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^    -?\d\.\d{3} - ", text, re.MULTILINE)) == 20


def test_same_seed_gives_the_same_files_with_and_without_matplotlib(
    small_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("sklearn.decomposition", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        need(module)
    monkeypatch.setattr(corpus, "standard_library", lambda: small_library)
    run.run(tmp_path / "a", limit=None, seed=7, threads=1)
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(FILES)
    capsys.readouterr()
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    run.run(tmp_path / "b", limit=None, seed=7, threads=1)
    assert 'it needs matplotlib; install it with: pip install "hashneg[demo]"' in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"overlap.csv", "negatives.jsonl"}
    for name in ("overlap.csv", "negatives.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("module", ["sklearn", "threadpoolctl"])
def test_without_scikit_learn_one_line_and_exit_code_2(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("typer")
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told == 'hashneg: error: the demo needs scikit-learn; install it with: pip install "hashneg[demo]"\n'
    assert not (tmp_path / "out").exists()


def test_a_python_without_sources_gives_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("sklearn.decomposition")
    monkeypatch.setattr(corpus, "standard_library", lambda: tmp_path)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("hashneg: error: found 0 documented functions")


def test_a_folder_that_cannot_be_made_gives_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need("sklearn.decomposition")
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert main(["demo", "--limit", "5"]) == 2
    assert "--limit" in capsys.readouterr().err


def test_peak_memory_counts_what_a_call_allocates() -> None:
    kept = np.ones(1 << 20)  # what was there before does not count
    assert compare._peak(lambda: np.ones(1 << 20)) == pytest.approx(kept.nbytes, rel=0.01)
    assert compare._peak(lambda: None) < 10_000
