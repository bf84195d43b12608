"""Formulas of the theory against their derivation, written out with vectors, and the edges of their arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hashneg import theory
from hashneg.theory.overtaking import difference_variance


def three_vectors(near, far, between):
    """A query and two items in space, with these angles."""
    query = np.array([1.0, 0.0, 0.0])
    first = np.array([math.cos(near), math.sin(near), 0.0])
    x, y = math.cos(far), (math.cos(between) - math.cos(near) * math.cos(far)) / math.sin(near)
    second = np.array([x, y, math.sqrt(max(1 - x * x - y * y, 0.0))])
    return query, first, second


def moment(query, item):
    """M_y: what "a random hyperplane separates query and item" tells of the second moments of its normal."""
    t = math.acos(query @ item)
    own, mixed = np.outer(query, query) + np.outer(item, item), np.outer(query, item) + np.outer(item, query)
    return (math.cos(t) * own - mixed) / (math.pi * math.sin(t))


@pytest.mark.parametrize(
    ("near", "far", "between"), [(0.8, 1.0, 0.9), (0.3, 1.4, 1.2), (1.1, 1.1, 2.0), (1.5, 2.2, 1.0), (0.9, 2.0, 2.6)]
)
def test_the_variance_of_the_difference_of_two_distances(near, far, between):
    query, first, second = three_vectors(near, far, between)
    up, down = (far + between - near) / (2 * math.pi), (near + between - far) / (2 * math.pi)
    independent = up + down - (up - down) ** 2
    apart = ((moment(query, second) - moment(query, first)) ** 2).sum()
    pairs = 48 * 47 + 16 * 15  # blocks of at most 48 orthonormal rows
    found = difference_variance(near, far, between, 64, 48)
    assert found == pytest.approx(64 * independent - pairs / (2 * 48) * apart, rel=1e-9)
    assert difference_variance(near, far, between, 64, 48, "gaussian") == pytest.approx(64 * independent, rel=1e-12)


def test_the_moments_are_those_of_random_rows():
    """M_y, by simulation: the second moments of the rows that separate two vectors, less their share of all rows."""
    query, item, _ = three_vectors(0.9, 1.0, 1.0)
    rows = np.random.default_rng(0).standard_normal((400_000, 3))
    separate = (rows @ query >= 0) != (rows @ item >= 0)
    simulated = rows[separate].T @ rows[separate] / len(rows) - separate.mean() * np.eye(3)
    np.testing.assert_allclose(simulated, moment(query, item), atol=0.006)


@pytest.mark.parametrize("n_bits", [32, 128, 300])
def test_the_variance_of_rabitq_over_independent_rows(n_bits):
    angle = 1.1
    plain = math.sin(angle) ** 2 * math.pi / (2 * n_bits)
    assert theory.rabitq_variance(angle, n_bits, 128, "gaussian") == pytest.approx(plain, rel=1e-12)
    sizes = [128] * (n_bits // 128) + [n_bits % 128]
    saved = sum(size**2 for size in sizes) / (n_bits**2 * 128)
    found = theory.rabitq_variance(angle, n_bits, 128)
    assert found == pytest.approx(plain - math.sin(angle) ** 2 * saved, rel=0.03)  # m^2 and m (m - 1) are close
    assert found < plain


def test_arguments_just_outside_their_range_are_refused():
    angles = np.linspace(0.5, 1.5, 40)[None]
    for call in (
        lambda: theory.angle(-0.01),
        lambda: theory.angle(1.01),
        lambda: theory.expected_overlap(angles, 4, 64, 32, residual=1.01),
        lambda: theory.expected_overlap(angles, 4, 64, 32, residual=-1.01),
        lambda: theory.expected_overlap(angles, 41, 64, 32),
        lambda: theory.expected_overlap(angles, 4, 64, 32, pool=3),
        lambda: theory.overtaking_bound(0.5, 0.7, 0.6, 0),
        lambda: theory.miss_bound(0.5, angles, angles, 64, 0),
        lambda: theory.overtaking_steps(2.5, 2.5, 2.5),  # more than a full turn
    ):
        with pytest.raises(ValueError, match=r"must|at least|at most"):
            call()
    edges = [theory.expected_overlap(angles, 4, 64, 32, residual=r)[0] for r in (-1, 0, 1)]
    assert edges == sorted(edges)
    assert edges[0] < edges[2]
