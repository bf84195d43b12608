"""Top-k and range search of the .cu files, run on the CPU, against brute force over unpacked bits."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import DEVICES
from helpers.search_problems import (
    ALLOW_KINDS,
    LAYOUTS,
    Problem,
    brute_force_topk,
    give_exclusions,
    make_bits,
    neighbours,
)
from searches import assert_topk, database, range_search, request, topk


def problem_of(layout: str, nq: int, n: int, n_bits: int, *names: str, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    problem = Problem(*make_bits(layout, nq, n, n_bits, rng), np.ones((nq, n), bool))
    give_exclusions(problem, set(names), rng)
    return problem


@pytest.fixture(params=list(DEVICES))
def gpu(request, emulated):
    return emulated(request.param)


def check(gpu, problem: Problem, k: int, limit: int | None = None, metric: str = "hamming") -> None:
    assert_topk(topk(gpu, problem, k, request(problem, limit, metric)), brute_force_topk(problem, k, limit, metric))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [0, 1, 33, 2100])
def test_topk_equals_brute_force(gpu, layout, n):
    problem = problem_of(layout, 3, n, 256, "query_ids" if n else "nothing")
    for k in (1, 10, 100):
        check(gpu, problem, k)


@pytest.mark.parametrize("kind", [*ALLOW_KINDS, "exclude all"])
def test_every_kind_of_mask(gpu, kind):
    problem = problem_of("clustered", 4, 1000, 256, kind, "labels", "query_ids")
    check(gpu, problem, 30)


@pytest.mark.parametrize("n_bits", [1, 20, 255, 300, 600])
def test_other_widths(emulated, n_bits):
    for kind in ("tensor", "sliced"):
        if kind == "tensor" or n_bits in (20, 300):  # each count of planes is compiled on its own
            gpu = emulated(kind)
            problem = problem_of("random", 3, 700, n_bits, "exclude")
            for metric in ("hamming", "projected"):
                check(gpu, problem, 20, n_bits // 2, metric)


@pytest.mark.parametrize("nq", [0, 1, 16, 17, 64, 65, 300])
@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_many_queries(emulated, kind, nq):
    problem = problem_of("random", nq, 200, 256, "query_ids")
    check(emulated(kind), problem, 5, 120, "projected" if nq % 2 else "hamming")


@pytest.mark.parametrize("k", [150, 1500])
@pytest.mark.parametrize("layout", ["few codes", "farthest first", "all equal"])
@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_lists_are_compacted(emulated, monkeypatch, kind, layout, k):
    """Lists with little room, so that they fill up in the scan, and again where they are merged."""
    gpu = emulated(kind)
    monkeypatch.setattr(gpu.scanner, "_SLACK", 1)
    monkeypatch.setattr(gpu.search, "best_room", lambda k: k + 40)
    check(gpu, problem_of(layout, 2, 4000, 256, "labels"), k)


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_limits_guessed_from_a_sample(emulated, monkeypatch, kind, layout):
    """Rank 1 of a tiny sample: guesses are often wrong, and the queries are scanned again."""
    gpu = emulated(kind)
    for name, value in {"_FIRST_ROWS": 32, "_SAMPLE_STEP": 2, "_SAMPLED_TILES": 1, "_DEVIATIONS": -1.0}.items():
        monkeypatch.setattr(gpu.search, name, value)
    steps = gpu.search.steps(8, 32, 40)
    assert [step.purpose for step in steps[-3:]] == [gpu.search.SAMPLE, gpu.search.CHECK, gpu.search.KEEP]
    check(gpu, problem_of(layout, 17, 4100, 256, "query_ids"), 40)
    check(gpu, problem_of(layout, 5, 5000, 256, "allow few"), 60, 100)


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_few_slices_and_few_queries_at_a_time(emulated, monkeypatch, kind):
    gpu = emulated(kind)
    monkeypatch.setattr(gpu.search, "WORKSPACE_BYTES", 1)
    check(gpu, problem_of("random", 150, 500, 256, "query_ids", "allow each"), 7)


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_threads_makes_no_difference(emulated, monkeypatch, kind, seed):
    gpu = emulated(kind)
    monkeypatch.setattr(gpu.cp.RawKernel, "seed", seed)
    monkeypatch.setattr(gpu.scanner, "_SLACK", 1)
    check(gpu, problem_of("clustered", 17, 2100, 256, "labels", "exclude"), 50)
    check(gpu, problem_of("farthest first", 2, 2000, 256, "query_ids"), 10)


@pytest.mark.parametrize("metric", ["hamming", "projected"])
@pytest.mark.parametrize("layout", ["random", "all equal", "clustered"])
@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_range_equals_brute_force(emulated, kind, layout, metric):
    gpu = emulated(kind)
    problem = problem_of(layout, 17, 1100, 256, "query_ids", "allow packed each")
    for radius in (60, 256 if metric == "hamming" else 40):
        indptr, rows, distances = range_search(gpu, problem, request(problem, radius, metric))
        wanted = neighbours(problem, radius, metric)
        assert (indptr.dtype, rows.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
        assert indptr.tolist() == np.cumsum([0, *map(len, wanted)]).tolist()
        assert list(zip(distances.tolist(), rows.tolist(), strict=True)) == [pair for pairs in wanted for pair in pairs]


def test_range_of_nothing(gpu):
    for nq, n in ((0, 5), (3, 0)):
        problem = problem_of("random", nq, n, 256)
        indptr, rows, _ = range_search(gpu, problem, request(problem, 256))
        assert indptr.tolist() == [0] * (nq + 1)
        assert len(rows) == 0


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_an_index_forgets_removed_rows(emulated, kind):
    gpu = emulated(kind)
    problem = problem_of("random", 4, 900, 256)
    alive = np.random.default_rng(3).random(900) < 0.5
    base = database(gpu, problem, alive=gpu.cp.asarray(alive))
    gpu.search.prepare(base)
    problem.allowed &= alive
    assert_topk(topk(gpu, problem, 30, request(problem), base), brute_force_topk(problem, 30))
    alive[::3] = ~alive[::3]
    base.alive = gpu.cp.asarray(alive)
    gpu.search.write(base, np.arange(0, 900, 3))
    problem.allowed[:] = alive
    assert_topk(topk(gpu, problem, 30, request(problem), base), brute_force_topk(problem, 30))
