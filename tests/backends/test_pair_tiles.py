"""pair_scores of the CPU backend: tiles of anchors, pairs sorted by row, rows multiplied in groups."""

from __future__ import annotations

import numpy as np
import pytest

from hashneg.backends import implementation

pairs = pytest.importorskip("hashneg.backends.cpu.pairs")


@pytest.mark.parametrize("tile_anchors", [1, 2, 33, 1000])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_and_threads_do_not_change_a_bit(monkeypatch, tile_anchors, threads, dtype):
    rng = np.random.default_rng(tile_anchors)
    anchors, rows = rng.standard_normal((300, 45)).astype(dtype), rng.standard_normal((500, 45)).astype(dtype)
    which = rng.integers(-1, 500, (300, 21))
    which[7], which[:, 3] = -1, 499
    whole = pairs.pair_scores(anchors, rows, which, True)
    monkeypatch.setattr(pairs, "_TILE_BYTES", tile_anchors * 45 * anchors.itemsize)
    np.testing.assert_array_equal(pairs.pair_scores(anchors, rows, which, True, threads), whole)
    one_by_one = [pairs.pair_scores(anchors[i : i + 1], rows, which[i : i + 1], True) for i in range(300)]
    np.testing.assert_array_equal(np.concatenate(one_by_one), whole)
    plain = implementation("pair_scores", "reference")(anchors, rows, which, True)
    np.testing.assert_allclose(whole, plain, rtol=0, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 255, 256, 257, 70_000])
def test_pairs_are_sorted_by_row_and_none_is_lost(n):
    rng = np.random.default_rng(n)
    which = rng.integers(-1, n, (40, 9))
    tile = rng.permutation(40)[:17]
    scores = np.zeros(which.shape, np.float32)
    found = pairs._pairs_by_row(which, tile, n, 4, 9, scores)
    rows, places = found >> 9, found & 511
    assert (np.diff(rows) >= 0).all()
    expected = {(int(which[a, j]), i, j) for i, a in enumerate(tile) for j in range(9) if which[a, j] >= 0}
    assert set(zip(rows.tolist(), (places >> 4).tolist(), (places & 15).tolist(), strict=True)) == expected
    assert len(found) == len(expected)
    np.testing.assert_array_equal(np.isnan(scores[tile]), which[tile] < 0)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_similar_anchors_stand_together(scale):
    """Two well separated groups come out one after the other; numbers that overflow give an order all the same."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 1000)
    anchors = rng.standard_normal((2, 16))[group] * 5 + rng.standard_normal((1000, 16))
    order = pairs.similar_together((scale * anchors).astype(np.float32))
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    if scale == 1.0:
        assert (np.diff(group[order]) != 0).sum() == 1


def test_rows_whose_squares_overflow_float32():
    x = np.array([[3e38, 0, 1e20], [1e-38, 0, 0], [0, 2, 0]], np.float32)
    scores = pairs.pair_scores(x, x, np.tile(np.arange(3), (3, 1)), True)
    np.testing.assert_array_equal(scores, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
