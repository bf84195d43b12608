"""In which order an anchor's neighbours are tried."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn
from hashneg.batches.preference import Preference
from hashneg.weights.strategies import EVERY_STRATEGY

N, K = 400, 24
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 16)).astype(np.float32)
MINED = hn.mine_hard_negatives(X, k=K, quantizer=64)


def rank_of_members(sampler):
    """The mean rank of the members of all batches among their anchor's neighbours."""
    batches, anchors = sampler.batches, sampler.anchors
    hard = batches != anchors
    ranks = np.argmax(MINED.indices[anchors[hard]] == batches[hard][:, None], axis=1)
    return ranks.mean()


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_non_anchors_are_candidates_and_epochs_differ(backend, strategy):
    sampler = hn.HardBatchSampler(MINED, 8, strategy=strategy, seed=2)
    first = sampler.batches.copy()
    hard = first != sampler.anchors
    assert hard.mean() > 0.5
    assert (MINED.indices[sampler.anchors[hard]] == first[hard][:, None]).any(axis=1).all()
    again = hn.HardBatchSampler(MINED, 8, strategy=strategy, seed=2)
    np.testing.assert_array_equal(again.batches, first)
    again.set_epoch(1)
    assert (again.batches != first).any()
    again.set_epoch(0)
    np.testing.assert_array_equal(again.batches, first)


def test_weights_move_the_choice():
    """Hardest first takes the lowest ranks, steep weights lower ones than a draw of all alike, soft ones higher."""
    ranks = {
        name: rank_of_members(hn.HardBatchSampler(MINED, 4, strategy=strategy, strategy_options=options))
        for name, strategy, options in (
            ("top", "top", None),
            ("steep", "hcl", {"temperature": 0.05}),
            ("random", "random", None),
            ("soft", "soft_info_nce", {"temperature": 0.1}),
        )
    }
    assert ranks["top"] + 1 < ranks["steep"]
    assert ranks["steep"] + 1 < ranks["random"] < ranks["soft"]


def test_the_order_is_the_draw_without_replacement():
    """Whoever is tried among the first m is whom `choose` draws for m negatives; padding comes last."""
    neighbours = np.where(RNG.random((N, K)) < 0.8, MINED.indices, -1)
    ordered = Preference("hcl", {"temperature": 0.1}, N).ordered(neighbours, MINED.scores, seed=5)
    marked = hn.weights.choose(
        "hcl", MINED.scores, neighbours >= 0, 3, seed=5, rows=np.arange(N), temperature=0.1
    )  # fmt: skip
    chosen = [sorted(neighbours[i][marked[i]]) for i in range(N)]
    assert chosen == [sorted(i for i in row if i >= 0) for row in ordered[:, :3]]
    assert (np.diff((ordered < 0).astype(int), axis=1) >= 0).all()
    np.testing.assert_array_equal(np.sort(ordered, axis=1), np.sort(neighbours, axis=1))


@pytest.mark.parametrize("mode", ["live", "epoch"])
def test_renew_takes_neighbours_and_scores_from_a_table(mode):
    table = hn.CodeTable(N, hn.BinaryQuantizer(64).fit(X), mode=mode)
    table.update(np.arange(N), X)
    if mode == "epoch":
        table.refresh()
    found = table.mine(np.arange(N), K)
    sampler = hn.HardBatchSampler(np.full((N, 1), -1), 8, strategy="hcl", scores=np.zeros((N, 1)))
    sampler.renew(table, K)
    scores = np.cos(np.pi * found.distances / 64)
    given = hn.HardBatchSampler(found, 8, strategy="hcl", scores=scores.astype(np.float32))
    np.testing.assert_array_equal(sampler.batches, given.batches)
    plain = hn.HardBatchSampler(found, 8)
    plain.renew(table, K)
    np.testing.assert_array_equal(plain.batches, hn.HardBatchSampler(found, 8).batches)


def test_wrong_arguments_are_refused_and_change_nothing():
    with pytest.raises(ValueError, match="strategy must be one of"):
        hn.HardBatchSampler(MINED, 8, strategy="nearest")
    with pytest.raises(ValueError, match="scores is missing"):
        hn.HardBatchSampler(MINED.indices, 8, strategy="hcl")
    with pytest.raises(ValueError, match=r"scores must be numbers of shape \(400, 24\)"):
        hn.HardBatchSampler(MINED.indices, 8, strategy="hcl", scores=MINED.scores[:, :3])
    with pytest.raises(ValueError, match="row 7 is not"):
        hn.HardBatchSampler(
            MINED.indices, 8, strategy="hcl", scores=np.where(np.arange(N)[:, None] == 7, np.nan, MINED.scores)
        )
    with pytest.raises(ValueError, match="strategy_options go with"):
        hn.HardBatchSampler(MINED, 8, strategy="random", strategy_options={"beta": 1.0})
    sampler = hn.HardBatchSampler(MINED, 8, strategy="hcl")
    before = sampler.batches
    with pytest.raises(ValueError, match="scores is missing"):
        sampler.neighbours = MINED.indices[::-1]
    assert sampler.batches is before


def test_a_loop_starts_without_neighbours():
    """The scores that a weight needs come with the first neighbours."""
    sampler = hn.HardBatchSampler(np.full((N, 1), -1), 8, strategy="hcl")
    assert len(sampler) == N // 8
    table = hn.CodeTable(N, hn.BinaryQuantizer(64).fit(X))
    table.update(np.arange(N), X)
    sampler.renew(table, K)
    assert (sampler.batches != sampler.anchors).mean() > 0.5


def test_renew_refuses_what_is_no_table_of_these_ids():
    sampler = hn.HardBatchSampler(MINED, 8)
    with pytest.raises(TypeError, match="table must be a CodeTable"):
        sampler.renew(hn.Codes.from_signs(X), 4)
    with pytest.raises(ValueError, match="table has 7 rows, but the sampler has 400 ids"):
        sampler.renew(hn.CodeTable(7, 64), 4)


def test_a_state_of_another_strategy_is_refused():
    state = hn.HardBatchSampler(MINED, 8, strategy="hcl").state_dict()
    with pytest.raises(ValueError, match="strategy='hcl', but this one has strategy='top'"):
        hn.HardBatchSampler(MINED, 8).load_state_dict(state)


def test_a_state_saved_before_there_were_strategies_still_loads():
    state = hn.HardBatchSampler(MINED, 8).state_dict()
    del state["strategy"]
    hn.HardBatchSampler(MINED, 8).load_state_dict(state)
