"""Small seeded input files, and a way to run the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hashneg.cli import main

N, M, DIM, K = 230, 700, 24, 4


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Files(NamedTuple):
    """Arrays, and the files in `folder` that hold them: anchors.npy and so on."""

    folder: Path
    anchors: np.ndarray
    corpus: np.ndarray
    positives: np.ndarray

    def names(self) -> set[str]:
        """Everything in the folder, hidden files included."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The input files, in the current folder."""
    rng = np.random.default_rng(7)
    corpus = rng.standard_normal((M, DIM)).astype(np.float16)
    corpus[N : 2 * N] = corpus[:N] + 0.5 * rng.standard_normal((N, DIM))
    anchors = (corpus[:N] + 0.7 * rng.standard_normal((N, DIM))).astype(np.float16)
    positives = np.stack([np.arange(N), np.arange(N, 2 * N)], axis=1)
    positives[::3, 1] = -1  # every third anchor has one positive,
    positives[5] = -1  # and one has none
    arrays = {"anchors": anchors, "corpus": corpus, "positives": positives}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "anchors.txt").write_text("".join(f"anchor é {i}\n" for i in range(N)), encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("".join(f"passage {i}\n" for i in range(M)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path, **arrays)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run ``hashneg ARGUMENTS``; arguments are split at blanks."""

    def run(arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments.split())
        return Ran(code, *capsys.readouterr())

    return run


MINE = f"mine anchors.npy --corpus corpus.npy --positives positives.npy --bits 64 -k {K}"


@pytest.fixture
def mine(files: Files, cli: Callable[..., Ran]) -> Callable[..., Path]:
    """Mine with some more options to a file, and return its path."""

    def run(output: str, more: str = "") -> Path:
        ran = cli(f"{MINE} {more} -o {output}")
        assert ran.code == 0, ran.err
        return files.folder / output

    return run
