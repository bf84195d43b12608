"""rabitq_scores of every backend, called as the public functions call it."""

from __future__ import annotations

import numpy as np
import pytest

from hashneg.backends import implementation


def problem(n_bits, m=13, n=101, p=9, seed=0):
    """Arguments of the operation, with padding, a query of zeros and a row of zeros."""
    rng = np.random.default_rng([seed, n_bits])
    signs = rng.random((n, n_bits)) < 0.5
    ids = rng.integers(-1, n, (m, p))
    ids[3], ids[:, 4] = -1, n - 1
    norms, factors = rng.random((2, n), dtype=np.float32)
    norms[7], norms[8], factors[8], ids[1, 0], ids[1, 1] = np.nan, 0.0, 0.0, 7, 8
    shifts = rng.random(m)
    shifts[5] = np.nan
    z = rng.standard_normal((m, n_bits), dtype=np.float32) / np.float32(n_bits)
    codes = np.packbits(signs, axis=1, bitorder="little")
    return {
        "z": z, "shifts": shifts, "reaches": rng.random(m), "codes": codes, "norms": norms, "factors": factors,
        "ids": ids, "share": 0.3 / n_bits,
    }, signs  # fmt: skip


@pytest.mark.parametrize("n_bits", [1, 7, 8, 33, 63, 64, 65, 72, 127, 512, 1021])
def test_the_scores_are_those_of_the_formula(backend, n_bits):
    given, signs = problem(n_bits)
    scores, bounds = implementation("rabitq_scores", backend)(**given, threads=2)
    assert scores.dtype == bounds.dtype == np.float32
    for (i, j), row in np.ndenumerate(given["ids"]):
        if row == -1:
            assert np.isnan(scores[i, j])
            assert np.isnan(bounds[i, j])
            continue
        if i == 5 or row == 7:
            assert scores[i, j] == bounds[i, j] == 0
            continue
        norm, factor = float(given["norms"][row]), float(given["factors"][row])
        product = sum(float(z) if sign else -float(z) for z, sign in zip(given["z"][i], signs[row], strict=True))
        assert scores[i, j] == pytest.approx(factor * product + given["shifts"][i] - norm**2 / 2, abs=1e-6)
        across = n_bits * (factor / norm) ** 2 - given["share"] if norm else 0.0
        assert bounds[i, j] == pytest.approx(given["reaches"][i] * norm * max(across, 0.0) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("n_bits", [5, 64, 200])
def test_neither_tiles_nor_threads_nor_neighbours_change_a_bit(n_bits, monkeypatch):
    cpu = pytest.importorskip("hashneg.backends.cpu.rabitq")
    given, _ = problem(n_bits, m=40)
    whole = cpu.rabitq_scores(**given)
    monkeypatch.setattr(cpu, "_TILE_PAIRS", 20)
    for found, expected in zip(cpu.rabitq_scores(**given, threads=3), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    for i, j in ((0, 0), (11, 8), (39, 2)):
        alone = {name: given[name][i : i + 1] for name in ("z", "shifts", "reaches")}
        score, _ = cpu.rabitq_scores(**given | alone | {"ids": given["ids"][i : i + 1, j : j + 1]})
        np.testing.assert_array_equal(score[0, 0], whole[0][i, j])


def test_no_query_no_candidate_and_any_layout(backend):
    given, _ = problem(72)
    run = implementation("rabitq_scores", backend)
    expected = run(**given)
    strided = {name: np.repeat(given[name], 2, axis=0)[::2] for name in ("z", "codes", "ids")}
    for found, wanted in zip(run(**given | strided), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    nobody = {name: given[name][:0] for name in ("z", "shifts", "reaches", "ids")}
    assert run(**given | nobody)[0].shape == (0, 9)
    assert run(**given | {"ids": given["ids"][:, :0]})[1].shape == (13, 0)
