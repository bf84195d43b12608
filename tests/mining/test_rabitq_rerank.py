"""rerank="rabitq": the pool of the Hamming search in the order of RaBitQ's estimate."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn
from hashneg import theory


def clustered(n=700, d=48):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((20, d))[rng.integers(20, size=n)] + rng.standard_normal((n, d))).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("n_bits", [33, 64])
@pytest.mark.parametrize(("rotation", "center"), [("orthogonal", "mean"), ("hadamard", None), ("gaussian", "mean")])
def test_scores_are_the_estimates_of_the_pool(backend, n_bits, rotation, center):
    x, corpus = clustered(60), clustered()
    quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation, center=center).fit(unit(corpus))
    mined = hn.mine_hard_negatives(x, corpus, k=7, quantizer=quantizer, rerank="rabitq:3")
    codes = quantizer.encode(unit(corpus))
    pool = hn.hamming_topk(quantizer.encode(unit(x)), codes, 21).indices
    estimates, _ = theory.rabitq_scores(quantizer, theory.rabitq_rows(quantizer, corpus), codes, x, pool)
    best = np.take_along_axis(pool, np.lexsort((pool, -estimates), axis=1)[:, :7], axis=1)
    np.testing.assert_array_equal(mined.indices, best)
    np.testing.assert_allclose(mined.scores, -np.sort(-estimates, axis=1)[:, :7], rtol=1e-6)


def test_comes_closer_to_exact_order_than_hamming():
    x = clustered()
    truth = hn.exact_topk(x, x, 16, query_ids=np.arange(len(x))).indices
    overlap = {
        rerank: hn.overlap_at_k(hn.mine_hard_negatives(x, quantizer=128, rerank=rerank).indices, truth).mean()
        for rerank in (0, "rabitq", 4)
    }
    assert overlap[0] + 0.05 < overlap["rabitq"] < overlap[4]


def test_margins_are_measured_in_estimates():
    x, corpus = clustered(50), clustered()
    arguments = {"k": 5, "quantizer": 64, "rerank": "rabitq", "positives": np.arange(50)}
    free = hn.mine_hard_negatives(x, corpus, **arguments)
    held = hn.mine_hard_negatives(x, corpus, absolute_margin=0.2, **arguments)
    assert held.report.positives.count == 50
    assert held.report.removed["absolute_margin"] > 0
    assert np.nanmax(held.scores) < np.nanmax(free.scores)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rerank": "rabitq:"}, "rerank must be"),
        ({"rerank": "rabitq:0"}, "rerank's factor"),
        ({"rerank": "cosine"}, "rerank must be"),
        ({"similarity": "dot"}, "estimates the cosine"),
        ({"quantizer": hn.BinaryQuantizer(32, center="median")}, "center='median'"),
        ({"quantizer": hn.BinaryQuantizer(32, rotation="itq")}, "rotation='itq'"),
        ({"score_fn": lambda anchors, rows: rows}, "score_fn scores the candidates"),
    ],
)
def test_what_does_not_go_with_it_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        hn.mine_hard_negatives(clustered(30), **{"k": 2, "quantizer": 32, "rerank": "rabitq"} | arguments)
