"""One test for each way in which other miners went wrong."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.six_steps import unit

import hashneg as hn


def corpus_of(n=300, d=16, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def scored_by(table):
    return lambda anchors, rows: table[anchors, rows]


def test_relative_margin_does_not_loosen_below_zero(backend):
    """pos * (1 - m) rises above pos where pos < 0 (sentence-transformers #3819); pos - |pos| * m falls."""
    x = corpus_of(40)
    table = np.tile(np.linspace(-1, 0.5, 40), (40, 1))
    positives = np.full(40, 10)  # scores -0.615
    mined = hn.mine_hard_negatives(
        x, positives=positives, relative_margin=0.1, k=5, rerank=8, score_fn=scored_by(table)
    )
    positive = np.float32(table[0, 10])
    real = mined.scores[~np.isnan(mined.scores)]
    assert len(real)
    assert real.max() <= positive - abs(positive) * 0.1


def test_several_positives_leave_room_for_k(backend):
    """k + 1 candidates are too few where an anchor has several positives (sentence-transformers #3872)."""
    x = corpus_of(60)
    nearest = hn.exact_topk(x, x, 9, query_ids=np.arange(60)).indices
    mined = hn.mine_hard_negatives(x, positives=nearest, k=16, rerank=1)
    assert (mined.counts == 16).all()
    for i in range(60):
        assert not set(mined.indices[i]) & {i, *nearest[i]}


@pytest.mark.parametrize("rerank", [0, 4])
def test_k_larger_than_the_corpus_pads(backend, rerank):
    """-1 that is gathered with is the last row (sentence-transformers #3873): it must not appear, nor be scored."""
    x = corpus_of(5)
    mined = hn.mine_hard_negatives(x, k=20, rerank=rerank, quantizer=32)
    assert mined.counts.tolist() == [4] * 5
    assert (mined.indices[:, 4:] == -1).all()
    assert np.isnan(mined.scores[:, 4:]).all()
    assert not np.isnan(mined.scores[:, :4]).any()
    for i in range(5):
        assert sorted(mined.indices[i, :4]) == [j for j in range(5) if j != i]


@pytest.mark.parametrize(("range_min", "range_max"), [(0, 4), (3, 7), (10, 14)])
def test_a_rank_window_narrower_than_k_is_refused(backend, range_min, range_max):
    """More negatives asked for than the window holds (sentence-transformers #3904)."""
    with pytest.raises(ValueError, match=r"range_max - range_min = 4 leaves fewer ranks than k=5"):
        hn.mine_hard_negatives(corpus_of(50), k=5, range_min=range_min, range_max=range_max)


def test_ranks_are_counted_after_positives_and_filters(backend):
    """A window cut before positives are removed lets their neighbours slip (FlagEmbedding hn_mine.py)."""
    x = corpus_of(200)
    order = hn.exact_topk(x, x, 199, query_ids=np.arange(200)).indices
    positives = order[:, [0, 2, 4]]
    whole = hn.mine_hard_negatives(x, positives=positives, k=12, rerank=16, max_score=0.6)
    window = hn.mine_hard_negatives(x, positives=positives, k=4, rerank=48, max_score=0.6, range_min=3, range_max=7)
    np.testing.assert_array_equal(window.indices, whole.indices[:, 3:7])


def test_short_rows_are_not_filled_with_anything(backend):
    """Rows short of negatives were filled at random, with positives among them (FlagEmbedding hn_mine.py)."""
    x = corpus_of(100)
    mined = hn.mine_hard_negatives(x, positives=np.arange(100) ^ 1, k=8, rerank=8, max_score=0.1, min_score=0.05)
    assert (mined.counts < 8).any()
    for row, scores, count in zip(mined.indices, mined.scores, mined.counts, strict=True):
        assert (row[:count] >= 0).all()
        assert (row[count:] == -1).all()
        assert ((scores[:count] >= np.float32(0.05)) & (scores[:count] <= np.float32(0.1))).all()
    assert mined.report.short == (mined.counts < 8).sum()


def test_self_is_dropped_by_row_not_by_place(backend):
    """Dropping column 0 as "self" drops a duplicate instead (TorchDR #295)."""
    x = np.repeat(corpus_of(10), 3, axis=0)
    mined = hn.mine_hard_negatives(x, k=2, quantizer=64)
    for i in range(30):
        first = i // 3 * 3
        assert mined.indices[i].tolist() == [j for j in range(first, first + 3) if j != i]


def test_query_ids_drop_the_anchor_from_its_corpus(backend):
    x = np.repeat(corpus_of(10), 2, axis=0)
    anchors = x[[0, 7, 8]]
    mined = hn.mine_hard_negatives(anchors, x, query_ids=[0, 7, -1], k=1, quantizer=64)
    assert mined.indices.ravel().tolist() == [1, 6, 8]


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e15])
def test_length_of_the_embeddings_does_not_matter_for_cosine(backend, scale):
    """Unnormalised embeddings gave nan or huge scores (sentence-transformers #2944)."""
    x = corpus_of(200)
    lengths = np.geomspace(1, scale, 200)[:, None].astype(np.float32)
    plain, scaled = hn.mine_hard_negatives(x, k=5), hn.mine_hard_negatives(x * lengths, k=5)
    np.testing.assert_allclose(scaled.scores, plain.scores, atol=1e-6)
    assert (scaled.indices == plain.indices).mean() > 0.99  # bits within rounding of 0 may differ


def test_reranked_rows_are_sorted_again(backend):
    """A rescored list that keeps the order of the first search (sentence-transformers #2558)."""
    x = corpus_of(300)
    mined = hn.mine_hard_negatives(x, k=10, rerank=4, quantizer=32)
    assert (np.diff(mined.scores, axis=1) <= 0).all()
    truth = unit(x) @ unit(x).T
    np.testing.assert_allclose(mined.scores, np.take_along_axis(truth, mined.indices, axis=1), atol=1e-5)
    in_hamming_order = hn.mine_hard_negatives(x, k=10, rerank=0, quantizer=32)
    assert (mined.indices != in_hamming_order.indices).any()


def test_row_zero_is_mined_and_can_be_a_positive(backend):
    """`and idx` as a test for "has an id" rejects row 0 (Sample4Geo)."""
    x = np.zeros((4, 8), np.float32)
    x[:, 0] = 1
    x[3] = -1
    quantizer = hn.BinaryQuantizer(8, rotation="identity", center=None).fit(x)
    arguments = {"k": 3, "quantizer": quantizer}
    assert hn.mine_hard_negatives(x, **arguments).indices[1].tolist() == [0, 2, 3]
    assert hn.mine_hard_negatives(x, positives=[0] * 4, **arguments).indices[1].tolist() == [2, 3, -1]
    labels = [0, 0, 1, -1]
    assert hn.mine_hard_negatives(x, labels=labels, **arguments).indices[1].tolist() == [2, 3, -1]


def test_results_do_not_depend_on_the_machine_split(backend):
    """Results differed between numbers of GPUs (FlagEmbedding #779): threads and slices make no difference here."""
    x = corpus_of(600)
    one = hn.mine_hard_negatives(x, k=6, threads=1, strategy="random", rerank=5)
    for threads in (2, 3, 5):
        other = hn.mine_hard_negatives(x, k=6, threads=threads, strategy="random", rerank=5)
        np.testing.assert_array_equal(other.indices, one.indices)
        np.testing.assert_array_equal(other.scores, one.scores)


def test_a_margin_ignores_anchors_without_positives(backend):
    x = corpus_of(50)
    positives = np.where(np.arange(50) % 2, (np.arange(50) + 1) % 50, -1)
    free = hn.mine_hard_negatives(x, k=4)
    for margin in ({"absolute_margin": 5.0}, {"relative_margin": 1e6}, {"absolute_margin": np.inf}):
        mined = hn.mine_hard_negatives(x, positives=positives, k=4, **margin)
        np.testing.assert_array_equal(mined.indices[::2], free.indices[::2])
        assert (mined.counts[1::2] == 0).all()


def test_infinite_scores_of_a_function_are_scores(backend):
    """-inf is a natural way for a function to say "never": it sorts last, and margins measured from it pass nothing."""
    x = corpus_of(30)
    table = np.tile(np.linspace(1, 2, 30), (30, 1))
    table[:, ::2] = -np.inf
    mined = hn.mine_hard_negatives(x, k=29, rerank=1, score_fn=scored_by(table), min_score=-1e30)
    assert (mined.indices[mined.indices >= 0] % 2 == 1).all()
    mined = hn.mine_hard_negatives(
        x, k=4, rerank=8, score_fn=scored_by(table), positives=[0] * 30, relative_margin=0.0, min_score=-1e30
    )
    assert mined.counts.sum() == 0
    assert hn.mine_hard_negatives(x, k=29, rerank=1, score_fn=scored_by(table)).counts.tolist() == [29] * 30


def test_false_negatives_are_kept_out_by_the_margins(backend):
    """Nearly all negatives mined from millions of rows were false ones (FlagEmbedding #850): what margins are for."""
    rng = np.random.default_rng(3)
    topics = rng.standard_normal((60, 32))
    x = np.repeat(topics, 10, axis=0) + 0.15 * rng.standard_normal((600, 32))
    topic = np.repeat(np.arange(60), 10)
    positives = np.arange(600) ^ 1  # one known positive; the other eight of a topic are unknown to the miner
    false = {
        name: (topic[mined.indices] == topic[:, None])[mined.indices >= 0].mean()
        for name, mined in {
            "no margin": hn.mine_hard_negatives(x, positives=positives, k=4, rerank=8),
            "margin": hn.mine_hard_negatives(x, positives=positives, k=4, rerank=8, relative_margin=0.3),
        }.items()
    }
    assert false["no margin"] > 0.9
    assert false["margin"] < 0.05
