"""strategy="random": without replacement, by (seed, anchor row), in rank order, every rank alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import hashneg as hn
from hashneg.mining.filters import draw
from hashneg.mining.job import MiningJob


def embeddings(n=400, d=8):
    return np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)


def test_draws_from_the_candidates_without_replacement_in_rank_order(backend):
    x = embeddings()
    drawn = hn.mine_hard_negatives(x, k=5, rerank=4, strategy="random")
    pool = hn.mine_hard_negatives(x, k=20, rerank=1)
    for i in range(len(x)):
        places = [pool.indices[i].tolist().index(j) for j in drawn.indices[i]]
        assert places == sorted(set(places))
        np.testing.assert_array_equal(drawn.scores[i], pool.scores[i, places])


def test_is_keyed_by_seed_and_anchor_row(backend):
    x, corpus = embeddings(), embeddings(900)
    quantizer = hn.BinaryQuantizer(64).fit(corpus)
    arguments = {"k": 5, "rerank": 6, "strategy": "random", "quantizer": quantizer}
    one = hn.mine_hard_negatives(x, corpus, **arguments)
    again = hn.mine_hard_negatives(x, corpus, **arguments)
    np.testing.assert_array_equal(one.indices, again.indices)
    other = hn.mine_hard_negatives(x, corpus, **arguments, seed=1)
    assert (one.indices != other.indices).any(axis=1).mean() > 0.9
    same_rows = hn.mine_hard_negatives(np.tile(x[:1], (50, 1)), corpus, **arguments)
    assert len(np.unique(same_rows.indices, axis=0)) > 40  # another row draws otherwise


def test_slices_draw_what_the_whole_draws(backend):
    x = embeddings()
    job = MiningJob(x, k=5, rerank=4, strategy="random", quantizer=64)
    job.prepare()
    whole = job.mine(0, 400)
    for start, stop in ((0, 1), (1, 130), (130, 399), (399, 400)):
        part = job.mine(start, stop)
        np.testing.assert_array_equal(part.indices, whole.indices[start:stop])
        np.testing.assert_array_equal(part.scores, whole.scores[start:stop])


def test_global_random_state_is_neither_read_nor_written(backend):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one = hn.mine_hard_negatives(embeddings(), k=5, strategy="random")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(hn.mine_hard_negatives(embeddings(), k=5, strategy="random").indices, one.indices)


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize(("k", "candidates"), [(1, 5), (4, 16), (7, 8)])
def test_every_candidate_is_drawn_equally_often(k, candidates, seed):
    """Chi-squared over 20,000 anchors; seeded, and at 1e-6 each a correct draw fails one of 9 in 100,000 seedings."""
    n = 20_000
    chosen = draw(np.ones((n, candidates), bool), k, seed, np.arange(n))
    assert (chosen.sum(axis=1) == k).all()
    share = k / candidates
    counts = chosen.sum(axis=0)
    # the counts are negatively correlated: their sum is fixed, which this factor takes into account
    statistic = ((counts - n * share) ** 2).sum() / (n * share * (1 - share)) * (candidates - 1) / candidates
    assert stats.chi2.sf(statistic, candidates - 1) > 1e-6
    pairs = chosen[:, 0] & chosen[:, 1]
    expected = share * (k - 1) / (candidates - 1)
    assert abs(pairs.mean() - expected) < 5 * np.sqrt(max(expected, 1 / n) / n)


def test_gaps_among_the_candidates_do_not_matter():
    """A filtered candidate is no candidate: the draw is over what is left."""
    rng = np.random.default_rng(0)
    kept = rng.random((3000, 20)) < 0.4
    chosen = draw(kept, 3, 0, np.arange(3000))
    assert not (chosen & ~kept).any()
    np.testing.assert_array_equal(chosen.sum(axis=1), np.minimum(kept.sum(axis=1), 3))
    packed_left = np.arange(20)[None] < kept.sum(axis=1)[:, None]
    again = draw(packed_left, 3, 0, np.arange(3000))
    for i in range(3000):
        assert np.flatnonzero(np.isin(np.flatnonzero(kept[i]), np.flatnonzero(chosen[i]))).tolist() == (
            np.flatnonzero(again[i]).tolist()
        )
