"""plan: its predictions against what the library then does, its choice, and its arguments."""

import numpy as np
import pytest
from helpers.nested import nested

import hashneg as hn
from hashneg import theory

K = 10


def measured(x, n_bits, rerank, rotation="orthogonal", center="mean", queries=None):
    """Overlap@K and the share of nearest rows found, by mining, over three rotations."""
    ids = np.arange(len(x)) if queries is None else None
    points = x if queries is None else queries
    truth = hn.exact_topk(points, x, K, query_ids=ids).indices
    found = []
    for seed in range(3):
        quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation, center=center, seed=seed).fit(x)
        mined = hn.mine_hard_negatives(points, x, query_ids=ids, k=K, quantizer=quantizer, rerank=rerank).indices
        nearest = (mined == truth[:, :1]).any(axis=1).mean()
        found.append((hn.overlap_at_k(mined, truth).mean(), nearest))
    return np.mean(found, axis=0)


def agrees(plan, x, tolerance=0.03, **options):
    for row in plan.rows:
        overlap, nearest = measured(x, row.n_bits, row.rerank, **options)
        assert row.overlap == pytest.approx(overlap, abs=tolerance), row
        assert row.recall == pytest.approx(nearest, abs=0.05), row


@pytest.mark.parametrize(
    ("rotation", "center"), [("orthogonal", "mean"), ("gaussian", "mean"), ("hadamard", None), ("orthogonal", None)]
)
def test_it_predicts_what_mining_then_does(rotation, center):
    x = nested()
    plan = theory.plan(
        x, K, n_bits=(64, 96, 256), rerank=(0, 4), rotation=rotation, center=center, n_queries=400, calibration=False
    )
    assert [(row.n_bits, row.rerank) for row in plan.rows] == [(b, r) for b in (64, 96, 256) for r in (0, 4)]
    agrees(plan, x, rotation=rotation, center=center)


def test_it_predicts_for_queries_from_elsewhere():
    rng = np.random.default_rng(1)
    x = nested()
    queries = x[::4] + 0.1 * rng.standard_normal((750, 64), dtype=np.float32)
    plan = theory.plan(x, K, queries=queries, n_bits=(64, 256), rerank=(0, 4), n_queries=400, calibration=False)
    agrees(plan, x, queries=queries)


def test_it_predicts_for_a_corpus_of_which_it_sees_a_quarter():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3000, 12)) @ rng.standard_normal((12, 64)) + 1).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    plan = theory.plan(x[::4], K, n=3000, n_bits=(64, 256), rerank=(0, 4), n_queries=750, calibration=False)
    assert plan.n == 3000
    agrees(plan, x, tolerance=0.05)


def test_duplicates_do_not_hide_who_competes_for_the_last_places():
    """The nearest row is the query's double, which is always found: the first of the rivals comes later."""
    x = np.repeat(nested(1500), 2, axis=0)
    agrees(theory.plan(x, K, n_bits=(32,), rerank=(4,), n_queries=400, calibration=False), x)


def test_it_looks_at_a_sample_of_the_far_rows_where_there_are_many(monkeypatch):
    from hashneg.theory import neighbourhood

    x = nested()
    options = {"n_bits": (32, 128), "rerank": (0, 4), "n_queries": 300, "calibration": False}
    whole = theory.plan(x, K, **options)
    monkeypatch.setattr(neighbourhood, "_FAR_ROWS", 500)
    for one, other in zip(whole.rows, theory.plan(x, K, **options).rows, strict=True):
        assert one.overlap == pytest.approx(other.overlap, abs=0.02)


def test_without_the_residual_correlation_clusters_would_be_predicted_too_low():
    """Why the plan measures it: the same law with 0 in its place is off by more than the tolerance."""
    x = nested()
    (row,) = theory.plan(x, K, n_bits=(32,), rerank=(4,), n_queries=400, calibration=False).rows
    centered = x - x.mean(axis=0)
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    angles = np.arccos(np.clip(centered[::10] @ centered.T, -1, 1))
    angles = np.sort(angles, axis=1)[:, 1:]
    plain = theory.expected_overlap(angles, K, 32, 64, pool=4 * K).mean()
    assert plain < row.overlap - 0.04


def test_the_choice_is_the_cheapest_that_is_enough():
    x = nested(1000)
    options = {"n_bits": (32, 64, 128, 256), "rerank": (0, 2, 4), "n_queries": 64, "calibration": False}
    plan = theory.plan(x, K, target_overlap=0.8, **options)
    enough = [row for row in plan.rows if row.overlap >= 0.8]
    assert plan.choice == min(enough, key=lambda row: (row.n_bits, row.rerank))
    assert f"{plan.choice.n_bits} bits with rerank={plan.choice.rerank} are enough" in str(plan)
    exactly = theory.plan(x, K, target_overlap=plan.choice.overlap, target_recall=plan.choice.recall, **options)
    assert exactly.choice == plan.choice
    both = theory.plan(x, K, target_overlap=0.8, target_recall=0.999, **options)
    assert both.choice.recall >= 0.999
    tight = theory.plan(x, K, max_bytes=2 * 1000 * 8, **options)
    assert tight.choice == max((row for row in plan.rows if row.n_bits <= 64), key=lambda row: row.overlap)
    impossible = theory.plan(x, K, target_overlap=0.99, max_bytes=1000, **options)
    assert impossible.choice is None
    assert "none of these is enough" in str(impossible)
    assert theory.plan(x, K, **options).choice is None


def test_rows_say_memory_time_and_uncertainty():
    x = nested(1000)
    plan = theory.plan(x, K, n_bits=(100, 256), rerank=(0, 8), n_queries=64)
    assert [row.bytes for row in plan.rows] == [2 * 1000 * 13] * 2 + [2 * 1000 * 32] * 2
    assert all(row.seconds > 0 for row in plan.rows)
    assert plan.rows[1].seconds >= plan.rows[0].seconds
    assert all(0 < row.overlap_error < 0.05 for row in plan.rows)
    few = theory.plan(x, K, n_bits=(100,), rerank=(0,), n_queries=16, calibration=False).rows[0]
    assert few.overlap_error > plan.rows[0].overlap_error
    assert few.seconds is None
    assert "26 kB" in str(plan)


def test_the_same_seed_gives_the_same_plan():
    x = nested(1500)
    options = {"n_bits": (64,), "rerank": (0, 4), "n_queries": 50, "calibration": False}
    assert theory.plan(x, K, **options).rows == theory.plan(x, K, **options).rows
    assert theory.plan(x, K, seed=1, **options).rows != theory.plan(x, K, **options).rows


def test_inputs_of_every_framework_and_dtype_give_the_same_plan(framework):
    x = nested(600)
    options = {"n_bits": (64,), "rerank": (2,), "n_queries": 40, "calibration": False}
    plain = theory.plan(x, K, **options).rows[0]
    found = theory.plan(framework.array(x), K, **options).rows[0]
    assert found.overlap == pytest.approx(plain.overlap, abs=1e-6)
    if framework.name != "array_api_strict":  # which has no float16
        half = theory.plan(framework.array(x.astype(np.float16)), K, **options).rows[0]
        assert half.overlap == pytest.approx(plain.overlap, abs=0.02)


def test_zeros_duplicates_and_small_corpora_are_survived():
    x = nested(60)
    x[7] = 0
    x[20:40] = x[19]
    plan = theory.plan(x, 5, n_bits=(8, 64), rerank=(0, 16), calibration=False)
    assert all(0 <= row.overlap <= 1 and 0 <= row.recall <= 1 for row in plan.rows)
    one = theory.plan(x, 1, n_bits=(64,), rerank=(4,), calibration=False).rows[0]
    assert one.overlap == one.recall
    everything = theory.plan(x[:11], 10, n_bits=(8,), rerank=(1,), calibration=False)
    assert everything.rows[0].overlap == pytest.approx(1, abs=1e-6)


def test_wrong_arguments_are_named():
    x = nested(100)
    for error, message, options in (
        (ValueError, "too few to show the 200 nearest", {"k": 200}),
        (ValueError, "n=2001 is more than k=10 times the 100 rows of sample; give at least 201 rows", {"n": 2001}),
        (ValueError, "n must be at least 100", {"n": 50}),
        (ValueError, "target_overlap must be at most 1", {"target_overlap": 90}),
        (ValueError, "max_bytes must be at least 0", {"max_bytes": -1}),
        (TypeError, "n_bits must be a sequence", {"n_bits": 64}),
        (TypeError, "rerank must be an integer", {"rerank": (0.5,)}),
        (ValueError, "n_bits must be at least 1", {"n_bits": (0,)}),
        (ValueError, "not drawn at random", {"rotation": "itq"}),
        (ValueError, "center must be one of", {"center": "median"}),
        (ValueError, "queries have 8 dimensions", {"queries": x[:, :8]}),
        (ValueError, "queries have 128 dimensions, sample has 64", {"queries": np.tile(x, 2)}),
        (ValueError, "queries has none", {"queries": x[:0]}),
        (ValueError, "n_queries must be at least 2", {"n_queries": 1}),
        (ValueError, "backend must be one of", {"backend": "other"}),
    ):
        with pytest.raises(error, match=message):
            theory.plan(x, **{"k": K, "calibration": False, **options})
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        theory.plan(x, K, calibration=False)
