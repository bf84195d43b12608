"""RaBitQ and its bound, for every number of bits below and above d."""

import math

import numpy as np
import pytest
from helpers import chance
from helpers.frames import damaged, fitted, pairs
from helpers.nested import nested
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

import hashneg as hn
from hashneg import theory

N = 4000


def errors(quantizer, x, y, epsilon=1.0):
    """Errors of the estimated cosines of row i of x and query i, and their bounds."""
    rows = theory.rabitq_rows(quantizer, x)
    codes = quantizer.encode(x)
    scores, bounds = theory.rabitq_scores(quantizer, rows, codes, y, np.arange(len(x))[:, None], epsilon=epsilon)
    return scores[:, 0] - np.einsum("ij,ij->i", x, y), bounds[:, 0]


def check_errors(quantizer, angle, seed, epsilon=1.0):
    """With epsilon 1 the bound is the standard deviation at a right angle; sin(angle) turns it to this one."""
    width = len(quantizer._fitted().signs[0, 0]) if quantizer.rotation == "hadamard" else quantizer.dim
    x, y = pairs(np.random.default_rng(seed), N, quantizer.dim, angle)
    error, deviation = errors(quantizer, x, y)
    scaled = error / (deviation * math.sin(angle))
    chance.assert_mean("RaBitQ, mean", scaled, 0.0)
    chance.assert_mean("RaBitQ, variance", scaled**2, 1.0)
    # one coordinate of a uniform point of a sphere in d - 1 dimensions, squared, has a beta law
    limit = (epsilon / math.sin(angle)) ** 2 / (width - 1)
    violated = beta.sf(min(limit, 1.0), 0.5, (width - 2) / 2)
    chance.assert_mean("RaBitQ, bound", (np.abs(error) > epsilon * deviation).astype(float), violated)


@settings(max_examples=chance.TABLE["RaBitQ, mean"].examples)
@given(
    d=st.integers(8, 64), share=st.floats(0.2, 1.0), angle=st.floats(0.2, math.pi - 0.2), seed=st.integers(0, 2**31),
    rotation=st.sampled_from(["orthogonal", "hadamard"]), ratio=st.floats(0.3, 1.5),
)  # fmt: skip
def test_the_error_has_the_law_stated_for_every_number_of_bits_up_to_d(d, share, angle, seed, rotation, ratio):
    if rotation == "hadamard":
        d = 1 << d.bit_length() - 1  # where the law holds exactly
    check_errors(fitted(max(2, int(share * d)), d, rotation, seed=seed), angle, seed, ratio * math.sin(angle))


def test_the_check_fails_on_a_wrong_factor_and_on_a_wrong_threshold():
    quantizer = fitted(24, 32, "orthogonal")
    check_errors(quantizer, 1.2, 0)
    x, y = pairs(np.random.default_rng(0), N, 32, 1.2)
    rows = theory.rabitq_rows(quantizer, x)
    plain = rows._replace(factors=np.full(N, rows.factors.mean() * 0.8, np.float32))  # without |<obar, o>|
    ids = np.arange(N)[:, None]
    scores, _ = theory.rabitq_scores(quantizer, plain, quantizer.encode(x), y, ids)
    _, deviation = errors(quantizer, x, y)
    with pytest.raises(AssertionError, match="mean"):
        chance.assert_mean("RaBitQ, mean", (scores[:, 0] - math.cos(1.2)) / deviation, 0.0)
    damaged(quantizer, thresholds=np.where(np.arange(24) == 3, -0.5, 0.0))
    with pytest.raises(AssertionError, match="RaBitQ"):
        check_errors(quantizer, 1.2, 0)


@pytest.mark.parametrize(("n_bits", "rotation"), [(16, "orthogonal"), (60, "orthogonal"), (40, "gaussian")])
def test_around_a_mean_it_estimates_the_cosine_of_the_rows_themselves(n_bits, rotation):
    d, draws = 24, 40
    found = []
    for seed in range(draws):  # over random rotations: rows around a mean are not turned at random themselves
        rng = np.random.default_rng(seed)
        x, y = pairs(rng, N // draws, d, 0.9)
        x, y = x + 0.3, y + 0.3
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation, seed=seed).fit(np.concatenate([x, y]))
        error, deviation = errors(quantizer, x, y)
        found.append(error / deviation)
    chance.assert_mean("RaBitQ, centered", np.concatenate(found), 0.0)


def test_the_variance_stated_is_that_of_the_bounds():
    for n_bits, d, rotation in ((64, 256, "orthogonal"), (256, 256, "hadamard"), (640, 256, "orthogonal")):
        x, y = pairs(np.random.default_rng(0), 500, d, math.pi / 2)
        _, deviation = errors(fitted(n_bits, d, rotation), x, y)
        expected = theory.rabitq_variance(math.pi / 2, n_bits, d, rotation)
        assert np.mean(deviation**2) == pytest.approx(expected, rel=2.5 / n_bits + 0.005)
    assert theory.rabitq_variance(1.0, 64, 128) > theory.rabitq_variance(1.0, 128, 128)
    projected, whole = theory.rabitq_variance(math.pi / 2, 64, 128), (math.pi / 2 - 1) / 64
    assert projected - whole == pytest.approx(1 / 64 - 1 / 128, rel=0.02)  # what the projection adds
    assert theory.rabitq_variance(1.0, 64, 64) < theory.cosine_variance(1.0, 64, 64)


@pytest.mark.parametrize("n_bits", [32, 64, 128])
def test_it_orders_candidates_better_than_their_hamming_distance(n_bits):
    x, k = nested(), 32
    quantizer = hn.BinaryQuantizer(n_bits)
    codes = quantizer.fit_encode(x)
    queries = np.arange(0, 3000, 30)
    found = hn.hamming_topk(codes[queries], codes, 4 * k, query_ids=queries)
    scores, bounds = theory.rabitq_scores(quantizer, theory.rabitq_rows(quantizer, x), codes, x[queries], found.indices)
    truth = hn.exact_topk(x[queries], x, k, query_ids=queries)
    order = np.argsort(-scores, axis=1, kind="stable")
    rescored = np.take_along_axis(found.indices, order, axis=1)
    plain, better = (hn.overlap_at_k(ids, truth).mean() for ids in (found.indices, rescored))
    assert better > plain + 0.03
    assert (bounds > 0).all()


def test_padding_zeros_and_frameworks(framework):
    x = nested(200)
    x[5] = 0
    quantizer = hn.BinaryQuantizer(40).fit(x)
    rows, codes = theory.rabitq_rows(quantizer, framework.array(x)), quantizer.encode(x)
    queries = x[:3].copy()
    queries[2] = 0
    ids = np.array([[0, 5, -1], [7, 8, 9], [1, -1, 2]])
    scores, bounds = theory.rabitq_scores(quantizer, rows, codes, framework.array(queries), framework.array(ids))
    scores, bounds = framework.to_numpy(scores), framework.to_numpy(bounds)
    assert np.array_equal(np.isnan(scores), ids == -1)
    assert np.array_equal(np.isnan(bounds), ids == -1)
    assert (scores[0, 1], bounds[0, 1], scores[2, 0], bounds[2, 2]) == (0, 0, 0, 0)
    assert scores[0, 0] == pytest.approx(1.0, abs=1e-5)  # a row estimates itself exactly
    assert scores.dtype == bounds.dtype == np.float32
    for i, j in ((1, 0), (1, 2)):
        alone, _ = theory.rabitq_scores(quantizer, rows, codes, queries[i : i + 1], ids[i : i + 1, j : j + 1])
        assert alone[0, 0] == pytest.approx(scores[i, j], abs=1e-6)


def test_a_loaded_quantizer_knows_its_mean_and_recognises_a_wrong_one(tmp_path):
    x = nested(300)
    quantizer = hn.BinaryQuantizer(40).fit(x)
    quantizer.save(tmp_path / "q.safetensors")
    loaded = hn.BinaryQuantizer.load(tmp_path / "q.safetensors")
    expected = theory.rabitq_rows(quantizer, x)
    for one, other in zip(theory.rabitq_rows(loaded, x), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="not the one"):
        theory.rabitq_rows(loaded, x, mean=x[0])
    with pytest.raises(ValueError, match=r"shape \(64,\)"):
        theory.rabitq_rows(loaded, x, mean=x[:, 0])
    loaded._total = None  # as in a file of an earlier version
    with pytest.raises(ValueError, match="pass mean="):
        theory.rabitq_rows(loaded, x)
    for one, other in zip(theory.rabitq_rows(loaded, x, mean=x.mean(axis=0, dtype=np.float64)), expected, strict=True):
        assert np.allclose(one, other, rtol=1e-5)


def test_what_it_does_not_hold_for_is_refused():
    x = nested(100)
    with pytest.raises(ValueError, match="median"):
        theory.rabitq_rows(hn.BinaryQuantizer(16, center="median").fit(x), x)
    with pytest.raises(ValueError, match="rotation"):
        theory.rabitq_rows(hn.BinaryQuantizer(16, rotation="itq").fit(x), x)
    with pytest.raises(hn.NotFittedError):
        theory.rabitq_rows(hn.BinaryQuantizer(16), x)
    with pytest.raises(TypeError, match="BinaryQuantizer"):
        theory.rabitq_rows(512, x)
    quantizer = hn.BinaryQuantizer(16).fit(x)
    rows, codes, ids = theory.rabitq_rows(quantizer, x), quantizer.encode(x), np.zeros((1, 2), int)
    with pytest.raises(ValueError, match="belong together"):
        theory.rabitq_scores(quantizer, rows, codes[:50], x[:1], ids)
    with pytest.raises(ValueError, match="dimensions"):
        theory.rabitq_scores(quantizer, rows, codes, x[:1, :8], ids)
    with pytest.raises(ValueError, match="between -1 and 99"):
        theory.rabitq_scores(quantizer, rows, codes, x[:1], ids + 100)
    with pytest.raises(ValueError, match="epsilon"):
        theory.rabitq_scores(quantizer, rows, codes, x[:1], ids, epsilon=-1)
