"""strategy="unremix", "hcl" and "soft_info_nce": drawn by weight among the candidates that "top" would choose from."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn
from hashneg.mining.job import MiningJob
from hashneg.weights import STRATEGIES


def embeddings(n=300, d=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize("rerank", [0, 4, "rabitq"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_draws_by_the_weights_of_the_pool(backend, strategy, rerank):
    """The pool comes from "top" with as many negatives as there are candidates; `choose` marks the same of them."""
    x = embeddings()
    quantizer = hn.BinaryQuantizer(64).fit(x / np.linalg.norm(x, axis=1, keepdims=True))
    window = {"range_min": 2, "range_max": 22, "quantizer": quantizer}
    same_pool = {0: 0, 4: 1, "rabitq": "rabitq:1"}[rerank]  # for four times as many negatives
    pool = hn.mine_hard_negatives(x, k=20, rerank=same_pool, **window)
    drawn = hn.mine_hard_negatives(x, k=5, rerank=rerank, strategy=strategy, seed=3, **window)
    extra = {}
    if strategy == "unremix":
        codes = quantizer.encode(x / np.linalg.norm(x, axis=1, keepdims=True))
        extra = {"representativeness": hn.weights.code_representativeness(codes)[pool.indices]}
    marked = hn.weights.choose(
        strategy, pool.scores, pool.indices >= 0, 5, seed=3, rows=np.arange(len(x)), **extra
    )  # fmt: skip
    np.testing.assert_array_equal(drawn.indices, pool.indices[marked].reshape(len(x), 5))
    np.testing.assert_array_equal(drawn.scores, pool.scores[marked].reshape(len(x), 5))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_anchor_is_short_only_where_candidates_are(strategy):
    """A weight of 0, or one that underflows, comes last but is not left out."""
    x = embeddings(40)
    labels = np.arange(40) % 2
    options = {"temperature": 1e-3} if strategy == "hcl" else None
    mined = hn.mine_hard_negatives(
        x, labels=labels, k=30, rerank=1, quantizer=64, strategy=strategy, strategy_options=options
    )
    np.testing.assert_array_equal(mined.counts, 20)
    assert (labels[mined.indices[:, :20]] != labels[:, None]).all()


def test_sharper_weights_draw_harder_negatives():
    x = embeddings()
    arguments = {"k": 4, "rerank": 16, "quantizer": 64}
    even, steep, soft = (
        hn.mine_hard_negatives(x, strategy=strategy, strategy_options=options, **arguments).scores.mean()
        for strategy, options in (
            ("hcl", {"beta": 0.0}),
            ("hcl", {"temperature": 0.05}),
            ("soft_info_nce", {"temperature": 0.05}),
        )
    )
    top = hn.mine_hard_negatives(x, **arguments).scores.mean()
    assert soft < even < steep < top


def test_an_uncertain_row_is_drawn_more_often():
    x = embeddings()
    uncertainty = np.where(np.arange(300) % 2 == 0, 1.0, 0.0)
    mined = hn.mine_hard_negatives(
        x, k=4, rerank=16, quantizer=64, strategy="unremix",
        strategy_options={"uncertainty": uncertainty, "factors": (0, 1, 0)},
    )  # fmt: skip
    assert (mined.indices % 2 == 0).all()


def test_slices_draw_what_the_whole_draws(backend):
    job = MiningJob(embeddings(), k=5, rerank=4, strategy="unremix", quantizer=64)
    job.prepare()
    whole = job.mine(0, 300)
    for start, stop in ((0, 1), (1, 130), (130, 300)):
        np.testing.assert_array_equal(job.mine(start, stop).indices, whole.indices[start:stop])


@pytest.mark.parametrize(
    ("error", "arguments", "text"),
    [
        (ValueError, {"strategy": "hardest"}, "strategy must be one of"),
        (ValueError, {"strategy": "top", "strategy_options": {"beta": 1}}, "strategy_options go with"),
        (TypeError, {"strategy": "hcl", "strategy_options": 0.5}, "must be a mapping"),
        (TypeError, {"strategy": "hcl", "strategy_options": {"alpha": 1}}, "has the options temperature, beta"),
        (ValueError, {"strategy": "hcl", "strategy_options": {"beta": -1}}, "beta must be"),
        (
            ValueError,
            {"strategy": "unremix", "strategy_options": {"uncertainty": np.ones(5)}},
            "one number for each of the 30 rows",
        ),
    ],
)
def test_wrong_options_are_refused_before_the_work(error, arguments, text):
    with pytest.raises(error, match=text):
        MiningJob(embeddings(30), k=2, **arguments)


def test_infinite_scores_have_no_weight():
    with pytest.raises(ValueError, match="scores must be finite"):
        hn.mine_hard_negatives(
            embeddings(30), k=2, strategy="hcl", score_fn=lambda anchors, rows: np.full(len(rows), np.inf)
        )


@pytest.mark.parametrize("temperature", [1e-2, 1e-4, 1e-9])
def test_very_steep_weights_take_the_hardest(temperature):
    """Weights that a float could not hold were all alike."""
    x = embeddings()
    arguments = {"k": 4, "rerank": 8, "quantizer": 64}
    steep = hn.mine_hard_negatives(x, strategy="hcl", strategy_options={"temperature": temperature}, **arguments)
    top = hn.mine_hard_negatives(x, **arguments)
    assert (steep.indices == top.indices).mean() > (0.8 if temperature == 1e-2 else 0.99)


def test_factors_that_leave_nothing_to_weigh_by_are_refused():
    with pytest.raises(ValueError, match="only uncertainty to weigh by"):
        MiningJob(embeddings(30), k=2, strategy="unremix", strategy_options={"factors": (0, 1, 0)})
    mined = hn.mine_hard_negatives(
        embeddings(30), k=2, strategy="unremix", strategy_options={"factors": [0, 0, 1]}, quantizer=64
    )
    assert (mined.counts == 2).all()


def test_uncertainty_may_be_a_list_and_must_be_finite():
    x = embeddings(30)
    listed = {"uncertainty": list(range(30))}
    assert (hn.mine_hard_negatives(x, k=2, strategy="unremix", strategy_options=listed).counts == 2).all()
    with pytest.raises(ValueError, match="row 4 is not"):
        MiningJob(
            x, k=2, strategy="unremix", strategy_options={"uncertainty": np.where(np.arange(30) == 4, np.nan, 0.0)}
        )


@pytest.mark.parametrize("strategy", ["top", "random", *STRATEGIES])
def test_a_window_beyond_the_corpus_leaves_nothing(strategy):
    mined = hn.mine_hard_negatives(embeddings(3), k=1, range_min=3, quantizer=16, strategy=strategy)
    assert (mined.counts == 0).all()
    assert (mined.indices == -1).all()


@pytest.mark.parametrize("options", [{"beta": np.inf}, {"temperature": 1e-320}])
def test_weights_that_are_no_numbers_are_refused(options):
    with pytest.raises(ValueError, match="weights that are not numbers"):
        hn.mine_hard_negatives(embeddings(30), k=2, quantizer=16, strategy="hcl", strategy_options=options)


def test_errors_of_weights_name_the_anchor_and_the_option():
    def score(anchors, rows):
        return np.where(anchors == 29, np.inf, 0.5)

    with pytest.raises(ValueError, match="anchor 29 is infinite"):
        hn.mine_hard_negatives(embeddings(30), k=2, quantizer=16, strategy="hcl", score_fn=score)
    with pytest.raises(TypeError, match="has the options temperature, beta, but got uncertainty"):
        MiningJob(embeddings(30), k=2, strategy="hcl", strategy_options={"uncertainty": np.ones(30)})
    with pytest.raises(TypeError, match="uncertainty, representativeness, but got uncertanty"):
        MiningJob(embeddings(30), k=2, strategy="unremix", strategy_options={"uncertanty": np.ones(30)})
