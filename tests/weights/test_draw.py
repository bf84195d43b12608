"""Drawing by weight: the law of drawing one after the other, seeds, padding, frameworks."""

from itertools import permutations

import numpy as np
import pytest

from hashneg import weights

RNG = np.random.default_rng(0)


def law(shares, k):
    """Probability of each set of k columns when drawing one after the other without replacement."""
    found: dict[tuple[int, ...], float] = {}
    for order in permutations(range(len(shares)), k):
        left, p = 1.0, 1.0
        for j in order:
            p, left = p * shares[j] / left, left - shares[j]
        key = tuple(sorted(order))
        found[key] = found.get(key, 0.0) + p
    return found


def test_draws_follow_the_law_of_sequential_drawing():
    """A chi-square test at a false-alarm rate of 1e-6, on a fixed seed."""
    from scipy.stats import chi2

    shares, rows = np.array([0.5, 0.25, 0.15, 0.1]), 40_000
    drawn = weights.draw(np.tile(3 * shares, (rows, 1)), 2, seed=5)
    expected = law(shares, 2)
    statistic = 0.0
    for pair, p in expected.items():
        seen = (drawn == pair).all(axis=1).sum()
        statistic += (seen - rows * p) ** 2 / (rows * p)
    assert statistic < chi2.isf(1e-6, len(expected) - 1)


def test_a_row_depends_on_seed_number_and_weights_only():
    w = RNG.random((20, 9))
    rows = np.arange(100, 120)
    whole = weights.draw(w, 4, seed=3, rows=rows)
    np.testing.assert_array_equal(weights.draw(w, 4, seed=3, rows=rows), whole)
    np.testing.assert_array_equal(weights.draw(w[7:9], 4, seed=3, rows=rows[7:9]), whole[7:9])
    np.testing.assert_array_equal(weights.draw(1000 * w, 4, seed=3, rows=rows), whole)
    assert (weights.draw(w, 4, seed=4, rows=rows) != whole).any()


def test_columns_are_distinct_ascending_and_padded():
    w = RNG.random((30, 6)) * (RNG.random((30, 6)) < 0.4)
    drawn = weights.draw(w, 8)
    for row, found in zip(w, drawn, strict=True):
        allowed = np.flatnonzero(row)
        np.testing.assert_array_equal(found, np.append(allowed, np.full(8 - len(allowed), -1)))
    assert drawn.dtype == np.int64


def test_extreme_weights_are_drawn_first():
    w = np.array([[1e-300, 1.0, 1e300, 0.0]])
    np.testing.assert_array_equal(weights.draw(w, 2), [[1, 2]])


def test_every_framework_draws_the_same(framework):
    w = RNG.random((5, 7)).astype(np.float32)
    drawn = weights.draw(framework.array(w), 3, seed=1)
    np.testing.assert_array_equal(framework.to_numpy(drawn), weights.draw(w, 3, seed=1))
    shares = framework.to_numpy(weights.probabilities(framework.array(w)))
    np.testing.assert_allclose(shares, w / w.sum(axis=1, keepdims=True), rtol=1e-6)


def test_probabilities_leave_masked_columns_and_empty_rows_at_zero():
    w = np.array([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    mask = np.array([[True, False, True], [False, False, False]])
    np.testing.assert_array_equal(weights.probabilities(w, mask=mask), [[0.5, 0, 0.5], [0, 0, 0]])


@pytest.mark.parametrize("strategy", weights.STRATEGIES)
def test_strategies_draw_kept_candidates_by_their_weights(strategy):
    rng = np.random.default_rng(0)
    scores = np.sort(rng.uniform(0, 1, (4000, 6)))[:, ::-1].copy()
    kept = rng.random(scores.shape) < 0.8
    kept[:3] = False  # rows without negatives: their weights overflowed
    scores[:, 5] = np.nan
    rows = np.arange(4000)
    marked = weights.choose(strategy, scores, kept, 2, seed=1, rows=rows)
    assert not (marked & ~kept).any()
    assert not marked[:, 5].any()
    np.testing.assert_array_equal(marked.sum(axis=1), np.minimum(kept[:, :5].sum(axis=1), 2))
    np.testing.assert_array_equal(weights.choose(strategy, scores[9:], kept[9:], 2, seed=1, rows=rows[9:]), marked[9:])
    first, last = (marked[:, j].sum() / kept[:, j].sum() for j in (0, 4))
    assert first < last if strategy == "soft_info_nce" else first > last


def test_further_scores_move_the_draw():
    scores, kept = np.tile([0.5, 0.5, 0.5], (2000, 1)), np.ones((2000, 3), bool)
    far = np.tile([1.0, 1.0, 5.0], (2000, 1))
    marked = weights.choose("unremix", scores, kept, 1, seed=0, rows=np.arange(2000), representativeness=far)
    assert marked[:, 2].mean() == pytest.approx(0.5, abs=0.06)  # weights 1, 1, 2; five standard deviations


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="row 1 is not"):
        weights.draw(np.array([[1.0, 2.0], [1.0, -1.0]]), 1)
    with pytest.raises(ValueError, match="row 0 is not"):
        weights.draw(np.array([[np.nan, 2.0]]), 1)
    with pytest.raises(ValueError, match=r"weights must have shape \(n, c\)"):
        weights.draw(np.ones(3), 1)
    with pytest.raises(ValueError, match="strategy must be one of"):
        weights.choose("hardest", np.ones((1, 2)), np.ones((1, 2), bool), 1, seed=0, rows=np.zeros(1, int))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"kept": np.ones((2, 3), bool)}, "one shape"),
        ({"rows": np.zeros(2, int)}, "one shape"),
        ({"uncertainty": np.ones((1, 2))}, "uncertainty must have the shape"),
    ],
)
def test_choose_checks_what_it_is_given(changed, text):
    good = {"scores": np.ones((1, 3)), "kept": np.ones((1, 3), bool), "k": 1, "seed": 0, "rows": np.zeros(1, int)}
    with pytest.raises(ValueError, match=text):
        weights.choose("unremix", **good | changed)
