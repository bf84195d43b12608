"""Clustered databases on the emulated device: the blocks that a probe visits, and blocks passed over by bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.search_problems import make_bits, packed
from searches import assert_topk, request, topk
from test_emulated_search import problem_of

from hashneg.backends.reference import search as oracle
from hashneg.backends.reference.distances import distances
from hashneg.backends.request import Database
from hashneg.hamming import clustering
from hashneg.progress import Meter


def clustered(problem, block_rows: int, monkeypatch, alive=None) -> Database:
    """The database on the host, in blocks, some of whose rows changed after the clustering."""
    codes = problem.codes[1]
    rows = codes.host.copy()
    monkeypatch.setattr(clustering, "BLOCK_ROWS", block_rows)
    clusters = clustering.cluster(rows, codes.n_bits, distances)
    changed = np.arange(0, len(rows), 97)
    rows[changed] = packed(make_bits("random", 0, len(changed), codes.n_bits, np.random.default_rng(9))[1]).host
    clustering.widen(clusters, rows[changed], clusters.positions[changed])
    return Database(rows, codes.n_bits, alive, clusters)


def compare(gpu, base: Database, problem, k: int, limit=None, metric="hamming", probe=1.0) -> None:
    search = request(problem, limit, metric, probe)
    with Meter(False, len(problem.queries), "") as meter:
        expected = oracle.topk(base, problem.codes[0].host, k, search, 1, meter)
    there = replace(
        base, codes=gpu.cp.asarray(base.codes), alive=None if base.alive is None else gpu.cp.asarray(base.alive)
    )
    assert_topk(topk(gpu, problem, k, search, there), expected)


@pytest.mark.parametrize("layout", ["random", "few codes", "clustered"])
@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_every_probe_equals_the_oracle(emulated, monkeypatch, kind, layout):
    gpu = emulated(kind)
    problem = problem_of(layout, 18, 700, 256, "query_ids", "exclude")
    alive = np.random.default_rng(2).random(700) < 0.9
    base = clustered(problem, 64, monkeypatch, alive)
    for probe, metric in ((0.0, "hamming"), (0.3, "projected"), (0.6, "hamming"), (1.0, "hamming")):
        compare(gpu, base, problem, 20, metric=metric, probe=probe)


@pytest.mark.parametrize("masks", [("allow few",), ("allow each", "labels"), ("allow packed",), ("allow nothing",)])
@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_visits_go_on_until_k_allowed_rows_are_held(emulated, monkeypatch, kind, masks):
    gpu = emulated(kind)
    problem = problem_of("clustered", 5, 700, 256, *masks)
    base = clustered(problem, 32, monkeypatch)
    for limit in (None, 60):
        compare(gpu, base, problem, 20, limit, probe=0.05)


def test_rows_that_fill_no_block(emulated, monkeypatch):
    gpu = emulated()
    for n in (0, 1, 700):
        problem = problem_of("random", 2, n, 70)
        compare(gpu, clustered(problem, 512, monkeypatch), problem, 9, probe=0.5)


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_lists_of_any_order_are_compacted(emulated, monkeypatch, kind):
    gpu = emulated(kind)
    monkeypatch.setattr(gpu.scanner, "_SLACK", 1)
    monkeypatch.setattr(gpu.search, "best_room", lambda k: k + 40)
    for layout in ("all equal", "few codes"):
        problem = problem_of(layout, 2, 1500, 256)
        compare(gpu, clustered(problem, 512, monkeypatch), problem, 150)


def planted(gpu, monkeypatch, file: str, old: str, new: str) -> None:
    """Replace text in a kernel file, or in one that it includes."""
    plain = gpu.device.source
    assert old in plain(file)
    monkeypatch.setattr(gpu.device, "source", lambda name: plain(name).replace(old, new))


@pytest.mark.parametrize(
    ("kind", "file", "block_rows"), [("tensor", "scan_mma.cu", 64), ("sliced", "scan_sliced.cu", 2048)]
)
def test_rows_of_blocks_that_nobody_visits_are_not_looked_at(emulated, monkeypatch, kind, file, block_rows):
    """With one query, passing over tiles gives the result by itself, without the test of each row that passed."""
    gpu = emulated(kind)
    planted(gpu, monkeypatch, file, "near = far <= limit && visits.includes(q, place, far)", "near = far <= limit")
    problem = problem_of("clustered", 1, 5 * block_rows, 256)
    base = clustered(problem, block_rows, monkeypatch)
    for probe in (0.2, 0.8):
        compare(gpu, base, problem, 5, probe=probe)


FAULTS = {
    "a tie lost": ("few codes", "merge.cu", "LATER_TIES_LOSE = 1 - CLUSTERED", "LATER_TIES_LOSE = 1"),
    "a bound too large": ("random", "clusters.cu", "far[i] - radii[block]", "far[i]"),
    "a block too many": ("random", "clusters.cu", "weight >= lacking", "weight > lacking"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(emulated, monkeypatch, fault):
    gpu = emulated()
    layout, *change = FAULTS[fault]
    planted(gpu, monkeypatch, *change)
    problem = problem_of(layout, 9, 700, 256)
    base = clustered(problem, 32, monkeypatch)
    with pytest.raises(AssertionError, match="Mismatched"):
        compare(gpu, base, problem, 20, probe=0.2 if "many" in fault else 1.0)


def test_range_search_takes_no_notice(emulated, monkeypatch):
    gpu = emulated()
    problem = problem_of("clustered", 3, 300, 64)
    base = clustered(problem, 32, monkeypatch)
    there = replace(base, codes=gpu.cp.asarray(base.codes))
    gpu.search.prepare(there)
    search = request(problem, 20)
    with Meter(False, 3, "") as meter:
        expected = oracle.range_search(base, problem.codes[0].host, search, 1, meter)
        found = gpu.search.range_search(there, gpu.cp.asarray(problem.codes[0].data), search, 1, meter)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.get(), wanted)
