"""Distances, projection, signs and similarities of the .cu files, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import all_distances, give_exclusions, make_bits
from searches import on_device

from hashneg.backends.reference import projection as plain_projection
from hashneg.backends.reference import similarity as plain_similarity
from hashneg.backends.request import Projection
from hashneg.hamming import exclusions


@pytest.fixture
def gpu(emulated):
    return emulated()


@pytest.mark.parametrize("metric", ["hamming", "projected"])
@pytest.mark.parametrize(("na", "nb", "width"), [(0, 3, 1), (3, 0, 2), (1, 1, 1), (5, 200, 7), (40, 130, 32)])
def test_distances(gpu, metric, na, nb, width):
    a, b = make_bits("random", na, nb, 8 * width, np.random.default_rng(width))
    codes = [gpu.cp.asarray(np.packbits(bits, axis=1, bitorder="little")) for bits in (a, b)]
    found = gpu.distances.distances(*codes, metric).get()
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, all_distances(a, b, metric))


def projections(dim: int, rng: np.random.Generator) -> dict[str, Projection]:
    n_bits = 37
    return {
        "dense": Projection("dense", rng.standard_normal(n_bits), rng.standard_normal((n_bits, dim))),
        "hadamard": Projection("hadamard", rng.standard_normal(n_bits), signs=rng.choice([-1.0, 1.0], (3, 3, 16))),
        "identity": Projection("identity", rng.standard_normal(dim)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "hadamard", "identity"])
@pytest.mark.parametrize("m", [0, 1, 70])
def test_projection(gpu, monkeypatch, kind, dtype, m):
    monkeypatch.setattr(gpu.projection, "_SCRATCH_BYTES", 6400)
    rng = np.random.default_rng(m)
    projection = projections(13, rng)[kind]
    rows = rng.standard_normal((m, 13)).astype(dtype)
    z = gpu.projection.project(gpu.cp.asarray(rows), projection).get()
    codes = gpu.projection.encode(gpu.cp.asarray(rows), projection).get()
    assert z.dtype == dtype
    np.testing.assert_allclose(
        z, plain_projection.project(rows, projection), atol=2e-5 if dtype == np.float32 else 1e-13
    )
    np.testing.assert_array_equal(codes, np.packbits(z >= 0, axis=1, bitorder="little"))


@pytest.mark.parametrize("staged_bytes", [0, 1 << 20])
def test_hadamard_of_several_rows_of_threads(gpu, monkeypatch, staged_bytes):
    monkeypatch.setattr(gpu.projection, "_STAGED_BYTES", staged_bytes)
    monkeypatch.setattr(gpu.cp.RawKernel, "seed", 5)
    rng = np.random.default_rng(0)
    projection = Projection("hadamard", np.zeros(1000), signs=rng.choice([-1.0, 1.0], (1, 3, 1024)))
    rows = rng.standard_normal((2, 700))
    z = gpu.projection.project(gpu.cp.asarray(rows), projection).get()
    np.testing.assert_allclose(z, plain_projection.project(rows, projection), atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "hadamard", "identity"])
def test_a_row_does_not_depend_on_the_others(gpu, kind):
    rng = np.random.default_rng(1)
    projection = projections(13, rng)[kind]
    rows = rng.standard_normal((50, 13)).astype(np.float32)
    whole = gpu.projection.project(gpu.cp.asarray(rows), projection).get()
    one = gpu.projection.project(gpu.cp.asarray(rows[7:8]), projection).get()
    np.testing.assert_array_equal(one[0], whole[7])


def test_signs_of_every_half(gpu):
    """All 65,536 halves, as the identity's numbers, against their own thresholds."""
    for dtype in (np.float16, np.uint16):
        bits = np.arange(2**16, dtype=np.uint16)
        wide = (
            bits.view(np.float16).astype(np.float32)
            if dtype == np.float16
            else (bits.astype(np.uint32) << 16).view("f4")
        )
        real = np.isfinite(wide)
        values, wide = bits[real].view(dtype).reshape(-1, 1), wide[real].reshape(-1, 1)
        for threshold in (-0.0, 6e-8):
            projection = Projection("identity", np.array([threshold]))
            codes = gpu.projection.encode(gpu.cp.asarray(values), projection).get()
            np.testing.assert_array_equal(codes[:, 0], wide[:, 0] >= np.float32(threshold))


def test_column_sums_do_not_depend_on_chunks(gpu):
    rows = np.random.default_rng(2).standard_normal((300, 70)).astype(np.float32)
    whole, parts = np.zeros(70), np.zeros(70)
    gpu.projection.add_columns(whole, gpu.cp.asarray(rows))
    for start in (0, 1, 130):
        stop = {0: 1, 1: 130, 130: 300}[start]
        gpu.projection.add_columns(parts, gpu.cp.asarray(rows[start:stop]))
    expected = np.zeros(70)
    plain_projection.add_columns(expected, rows)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(parts, expected)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float64, np.float16), (np.uint16, np.float64)])
def test_pair_scores(gpu, cosine, dtypes):
    rng = np.random.default_rng(3)
    anchors, rows = (_numbers(rng.standard_normal((m, 45)), dtype) for m, dtype in zip((7, 30), dtypes, strict=True))
    rows[4] = 0
    which = rng.integers(-1, 30, (7, 5))
    wide = [_wide(x) for x in (anchors, rows)]
    expected = plain_similarity.pair_scores(*wide, which, cosine)
    found = gpu.similarity.pair_scores(*map(gpu.cp.asarray, (anchors, rows, which)), cosine).get()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.isnan(found[which < 0]).all()


def test_equal_rows_score_alike(gpu):
    rng = np.random.default_rng(4)
    anchors, row = rng.standard_normal((3, 101)).astype(np.float32), rng.standard_normal(101).astype(np.float32)
    rows = np.tile(row, (40, 1))
    which = np.tile(np.arange(40), (3, 1))
    found = gpu.similarity.pair_scores(*map(gpu.cp.asarray, (anchors, rows, which)), True).get()
    assert (found == found[:, :1]).all()


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_of_all_pairs(gpu, monkeypatch, k, seed):
    """Small integers as numbers: products are exact, and many scores tie."""
    monkeypatch.setattr(gpu.cp.RawKernel, "seed", seed)
    rng = np.random.default_rng(k)
    queries, rows = (rng.integers(-2, 3, (m, 6)).astype(np.float32) for m in (5, 150))
    problem = type("Problem", (), {"allowed": np.ones((5, 150), bool), "arguments": {}})
    give_exclusions(problem, {"query_ids", "labels", "allow each"}, rng)
    masks = exclusions.build(5, 150, **problem.arguments)
    states = []
    for device in (False, True):
        best, found = np.full((5, k), np.nan, np.float32), np.full((5, k), -1)
        if device:
            moved = [gpu.cp.ndarray(x) for x in (best, found, queries)]
            for start, stop in ((0, 1), (1, 90), (90, 90), (90, 150)):
                part = gpu.cp.ndarray(rows[start:stop])
                gpu.similarity.update_best(*moved, part, start, on_device(gpu, masks))
        else:
            plain_similarity.update_best(best, found, queries, rows, 0, masks)
        states.append((best, found))
    np.testing.assert_array_equal(states[0][0], states[1][0])
    np.testing.assert_array_equal(states[0][1], states[1][1])


def _numbers(x: np.ndarray, dtype: type) -> np.ndarray:
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16) if dtype is np.uint16 else x.astype(dtype)


def _wide(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x.astype(np.float64)
