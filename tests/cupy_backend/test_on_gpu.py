"""The cupy backend on a real device, where there is one: ``python -m pytest -m gpu``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.search_problems import LAYOUTS, brute_force_topk, neighbours
from test_emulated_search import problem_of

import hashneg as hn

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["as the device has it", "bit-sliced"])
def cupy(request, monkeypatch):
    why = next(row.why for row in hn.backends() if row.name == "cupy")
    if why:
        pytest.skip(f"the backend cupy {why}")
    if request.param == "bit-sliced":
        monkeypatch.setattr("hashneg.backends.cupy.layout.on_tensor_core", lambda: False)
    return pytest.importorskip("cupy")


def moved(cupy, problem):
    codes = [hn.Codes(cupy.asarray(codes.data), codes.n_bits) for codes in problem.codes]
    return codes, {name: cupy.asarray(np.ascontiguousarray(value)) for name, value in problem.arguments.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_bits", [20, 256, 300, 1100])
@pytest.mark.parametrize("n", [0, 33, 5000, 70_001])
def test_topk(cupy, layout, n_bits, n):
    problem = problem_of(layout, 70, n, n_bits, *(("query_ids", "labels") if n else ()))
    codes, arguments = moved(cupy, problem)
    for k in (1, 100, 3000):
        found = hn.hamming_topk(*codes, k, **arguments)
        expected = brute_force_topk(problem, k)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got.get(), wanted)


def test_range(cupy):
    problem = problem_of("clustered", 70, 9000, 256, "exclude", "allow each")
    codes, arguments = moved(cupy, problem)
    found = hn.hamming_range(*codes, 60, **arguments)
    assert found.indices.get().tolist() == [row for pairs in neighbours(problem, 60) for _, row in pairs]


def test_the_callers_stream_is_used(cupy):
    """Work goes to the current stream: what is queued before and behind it there is in order without a wait."""
    problem = problem_of("random", 64, 50_000, 256)
    codes, _ = moved(cupy, problem)
    with cupy.cuda.Stream(non_blocking=True):
        rows = cupy.zeros_like(codes[1].data)
        rows[:] = codes[1].data
        found = hn.hamming_topk(codes[0], rows, 10)
        rows[:] = 0
        copies = [part.copy() for part in found]
    expected = brute_force_topk(problem, 10)
    for got, wanted in zip(copies, expected, strict=True):
        np.testing.assert_array_equal(got.get(), wanted)


def test_the_benchmark_runs(cupy):
    command = [sys.executable, "-m", "benchmarks.gpu", "--rows", "50000", "--queries", "100", "--runs", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "hashneg, bit-sliced" in done.stdout
