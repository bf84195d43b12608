"""The final sort of a search: by (distance, row), whatever the order in which rows came."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")
from hashneg.backends.cpu.selection import sort_by_distance


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(
    ("n", "levels", "most"),
    [(0, 5, 10), (1, 1, 1), (700, 257, 700), (700, 3, 2**40), (9000, 1, 10_000), (5000, 2, 300_000)],
)
def test_sorts_by_distance_then_row(n, levels, most, in_order):
    """Few and many rows at a distance, small and very large row numbers."""
    rng = np.random.default_rng(n + levels)
    rows = np.unique(rng.integers(0, most, 3 * n))[:n] if most > n else np.arange(n)
    distances = rng.integers(0, levels, len(rows)).astype(np.int32)
    if not in_order:
        mixed = rng.permutation(len(rows))
        rows, distances = rows[mixed], distances[mixed]
    order = np.lexsort((rows, distances))
    expected = distances[order], rows[order]
    found = np.full(len(rows), -7, np.int32), np.full(len(rows), -7)
    sort_by_distance(distances.copy(), rows.copy(), in_order, levels, *found)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
