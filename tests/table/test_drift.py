"""Drift: the angle by which a model has moved, seen in the codes; and the hardest positive of a row."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn

N, DIM = 400, 64


def moved(x: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Unit rows turned by `angle`, each in a direction of its own."""
    other = rng.standard_normal(x.shape)
    other -= (other * x).sum(axis=1, keepdims=True) * x
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.cos(angle) * x + np.sin(angle) * other


@pytest.mark.parametrize("angle", [0.0, 0.05, 0.3, 1.0, 2.0])
def test_the_mean_angle_is_estimated_without_bias(angle):
    """A row's estimate has at most the standard deviation pi sqrt(p (1 - p) / n_bits), p = angle / pi (independent
    bits; orthonormal rows have less). Five standard errors: a false alarm in 2 million runs, and the seed is fixed."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    n_bits, errors = 256, []
    for seed in range(4):  # the rows of one rotation share its error
        table = hn.CodeTable(N, hn.BinaryQuantizer(n_bits, center=None, seed=seed).fit(x))
        table.update(range(N), x)
        drift = table.drift(range(N), moved(x, angle, rng))
        assert drift.angle == pytest.approx(float(drift.angles.mean()), abs=1e-5)
        np.testing.assert_allclose(drift.angles, np.pi * drift.distances / n_bits, rtol=1e-6)
        errors.append(drift.angle - angle)
    p = angle / np.pi
    assert abs(np.mean(errors)) <= 5 * np.pi * np.sqrt(p * (1 - p) / n_bits / (4 * N)) + 1e-9


def test_rows_without_codes_do_not_count(backend):
    x = np.random.default_rng(2).standard_normal((N, DIM))
    table = hn.CodeTable(N, hn.BinaryQuantizer(40).fit(x))
    empty = table.drift([0, 1], x[:2])
    assert np.isnan(empty.angle)
    assert np.isnan(empty.angles).all()
    assert (empty.distances == 2**31 - 1).all()
    table.update([3], x[3:4])
    drift = table.drift([2, 3, 3], np.stack([x[2], x[3], -x[3]]))
    assert np.isnan(drift.angles[0])
    assert drift.distances[1] == 0
    assert drift.distances[2] > 20
    assert drift.angle == pytest.approx(np.pi * drift.distances[2] / 40 / 2)


def test_a_refresh_is_due_when_the_model_has_moved():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    table = hn.CodeTable(N, hn.BinaryQuantizer(256).fit(x))
    assert table.refresh_due(range(N), x)  # no codes yet
    table.refresh(x)
    assert not table.refresh_due(range(N), x, max_angle=0.0)
    later = moved(x, 0.3, rng)
    assert table.refresh_due(range(N), later)
    assert not table.refresh_due(range(N), later, max_angle=0.5)
    table.refresh(later)
    assert not table.refresh_due(range(N), later, max_angle=0.0)


def test_drift_changes_nothing():
    x = np.random.default_rng(4).standard_normal((N, DIM))
    table = hn.CodeTable(N, 40)
    table.refresh(x)
    before = table.codes().data.copy()
    table.drift(range(N), -x)
    np.testing.assert_array_equal(table.codes().data, before)
    assert table.version == 1


def farthest(codes: np.ndarray, row: int, others: list[int]) -> int:
    bits = np.unpackbits(codes, axis=1).astype(int)
    best = sorted((-int(abs(bits[row] - bits[j]).sum()), j) for j in others if j != row)
    return best[0][1] if best else -1


@pytest.mark.parametrize("pairs", [5, 1 << 18])
def test_the_hardest_positive_is_the_farthest(backend, pairs, monkeypatch):
    monkeypatch.setattr("hashneg.table.positives._MOST_PAIRS", pairs)
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 40, 120)
    x = rng.integers(-1, 2, (120, 6)).astype(float)  # codes tie
    table = hn.CodeTable(120, hn.BinaryQuantizer(12).fit(x), labels=labels)
    coded = np.delete(np.arange(120), [5, 17, 80])
    table.update(coded, x[coded])
    ids = rng.integers(0, 120, 200)
    codes = table.codes().data
    wanted = [-1 if i not in coded else farthest(codes, i, [j for j in coded if labels[j] == labels[i]]) for i in ids]
    assert table.hardest_positives(ids).tolist() == wanted
    assert -1 in wanted
    lists = rng.integers(-1, 120, (200, 4))
    wanted = [
        -1 if i not in coded else farthest(codes, i, [j for j in row if j in coded])
        for i, row in zip(ids, lists, strict=True)
    ]
    assert table.hardest_positives(ids, lists).tolist() == wanted
    assert table.hardest_positives(ids, lists[:, :0]).tolist() == [-1] * 200


def test_positives_need_labels_or_a_list():
    table = hn.CodeTable(3, 8)
    with pytest.raises(ValueError, match="no labels"):
        table.hardest_positives([0])
    with pytest.raises(ValueError, match=r"positives\[\(0, 1\)\] is 3"):
        table.hardest_positives([0], [[1, 3]])
