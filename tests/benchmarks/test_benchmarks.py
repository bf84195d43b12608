"""The benchmarks run, on tiny data and without competitors: exit code, results, and that nothing is left out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.requirements import need

ROOT = Path(__file__).parents[2]
NAMES = {
    "search": {"contender": {"hashneg", "hashneg clustered", "hashneg, no survivors"}},
    "selfmine": {"contender": {"hashneg", "hashneg clustered"}},
    "quantize": {"contender": {f"hashneg {name}" for name in ("orthogonal", "hadamard", "gaussian", "itq")}},
    "job": {"method": {"hashneg, Hamming order", "hashneg, reranked", "hashneg exact_topk"}},
    "scaling": {"contender": {"exact, order given", "exact, clustered", "probe at recall 0.95"}},
}


def run(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", name, "--size", "tiny", "--no-peers", "--results", str(folder)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_measures_all_of_hashneg(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / f"{name}.csv", encoding="utf-8") as file:
        lines = file.readlines()
    about = [line for line in lines if line.startswith("# ")]
    assert about[0] == f"# python -m benchmarks {name} --size tiny --no-peers\n"
    assert about[1].startswith("# machine: ")
    rows = list(csv.DictReader(lines[len(about) :]))
    for column, expected in NAMES[name].items():
        assert expected <= {row[column] for row in rows}
        assert not any(peer in row[column] for row in rows for peer in ("faiss", "usearch", "torch", "hnswlib"))
    assert (tmp_path / f"{name}.md").read_text(encoding="utf-8").count("\n|") >= len(expected)
    assert done.stdout.startswith("machine: ")
    need("matplotlib")
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_processor_chooses_the_blas_kernel(tmp_path: Path) -> None:
    """A setting that names another processor's kernel is dropped before NumPy is loaded."""
    done = run("selfmine", tmp_path, OPENBLAS_CORETYPE="Nehalem")
    assert done.returncode == 0, done.stderr
    assert "Nehalem" not in done.stdout


def test_the_header_tells_what_other_programs_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import setup

    seconds = iter((100.0, 102.0))
    monkeypatch.setattr(setup, "_foreign_seconds", lambda: next(seconds))
    clock = iter((5.0, 9.0))
    monkeypatch.setattr(setup.time, "monotonic", lambda: next(clock))
    assert setup.foreign_load()() == "other programs used 0.50 cores meanwhile"


def test_probe_is_found_by_bisection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.scaling import exponent, fewest_blocks

    asked = []

    def recall_of(blocks: int) -> float:
        asked.append(blocks)
        return min(1.0, blocks / 40)

    assert fewest_blocks(recall_of, 1000) == (38, 0.95)
    assert len(asked) <= 10
    assert fewest_blocks(lambda blocks: 1.0, 7) == (1, 1.0)
    rows = [{"n": n, "seconds": 3.0 * n**1.5} for n in (100, 1000, 5000)]
    assert exponent(rows, lambda row: row["seconds"]) == pytest.approx(1.5)
