"""The laws of bits, of the Hamming distance and of three vectors, for the codes that the quantizer really makes."""

import math

import numpy as np
import pytest
from helpers import chance
from helpers.frames import damaged, differing, fitted, frames, pairs, triples
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hashneg import theory

PAIRS = 3000
ANGLES = st.floats(0.05, math.pi - 0.05)
SEEDS = st.integers(0, 2**31)


@st.composite
def codes(draw):
    """(rotation, n_bits, d): rows orthonormal, so that randomly turned pairs obey the law under any one rotation."""
    rotation = draw(st.sampled_from(["orthogonal", "hadamard", "itq", "identity", "gaussian"]))
    d = 2 ** draw(st.integers(3, 5)) if rotation == "hadamard" else draw(st.integers(8, 32))
    if rotation == "identity":
        return rotation, d, d
    return rotation, draw(st.integers(8, d if rotation == "itq" else 3 * d)), d


def check_collision(quantizer, angle, x, y):
    differs = differing(quantizer, x, y)
    chance.assert_mean("collision", differs.mean(axis=1), angle / math.pi)
    for bit in differs.T:
        chance.assert_mean("collision of each bit", bit.astype(float), angle / math.pi)


@settings(max_examples=chance.TABLE["collision"].examples)
@given(code=codes(), angle=ANGLES, seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_a_bit_collides_with_probability_one_minus_angle_over_pi(code, angle, seed, dtype):
    rotation, n_bits, d = code
    rng = np.random.default_rng(seed)
    length = rng.uniform(0.1, 10, (2, PAIRS, 1))
    if seed % 2:  # around a mean, of the angle between the centered vectors
        mean = rng.uniform(-8, 8, d)
    else:
        mean = None
    x, y = pairs(rng, PAIRS, d, angle)
    x, y = (length[0] * x + (0 if mean is None else mean)), (length[1] * y + (0 if mean is None else mean))
    quantizer = fitted(n_bits, d, rotation, mean, seed)
    check_collision(quantizer, angle, x.astype(dtype), y.astype(dtype))
    assert theory.collision_probability(angle) == 1 - angle / math.pi


class TestFaults:
    """The check of the collision law fails on each of these."""

    ANGLE, D, BITS, SPREAD = 1.2, 24, 40, 0.005

    def setup_method(self):
        rng = np.random.default_rng(3)
        self.mean = rng.uniform(-8, 8, self.D)
        self.x, self.y = (self.SPREAD * v + self.mean for v in pairs(rng, PAIRS, self.D, self.ANGLE))
        self.quantizer = fitted(self.BITS, self.D, "orthogonal", self.mean)

    def caught(self):
        with pytest.raises(AssertionError, match="collision"):
            check_collision(self.quantizer, self.ANGLE, self.x, self.y)

    def test_without_a_fault_it_passes(self):
        check_collision(self.quantizer, self.ANGLE, self.x, self.y)

    def test_a_stuck_bit(self):
        damaged(self.quantizer, thresholds=np.where(np.arange(self.BITS) == 7, -1e6, self.quantizer.thresholds))
        self.caught()

    def test_thresholds_off_by_one(self):
        damaged(self.quantizer, thresholds=np.roll(self.quantizer.thresholds, 1))
        self.caught()

    def test_one_threshold_that_is_a_little_wrong(self):
        damaged(self.quantizer, thresholds=self.quantizer.thresholds + 0.005 * (np.arange(self.BITS) == 3))
        self.caught()

    def test_rounding_to_float16(self):
        self.x, self.y = self.x.astype(np.float16), self.y.astype(np.float16)
        self.caught()

    def test_the_angle_of_vectors_that_were_not_centered(self):
        self.quantizer = fitted(self.BITS, self.D, "orthogonal", None)
        self.caught()


def check_zeros(sign):
    """Bits of numbers of which a third are exactly zero; `sign` stands for the quantizer's rule."""
    x = np.random.default_rng(0).integers(-1, 2, (400, 16)).astype(np.float32)
    quantizer = fitted(16, 16, "identity")
    assert np.array_equal(sign(quantizer.project(x)), x >= 0)
    assert np.array_equal(quantizer.encode(x).to_signs() > 0, x >= 0)


def test_zero_counts_as_positive():
    check_zeros(lambda z: z >= 0)


def test_the_check_of_zeros_fails_on_a_sign_that_is_biased_there():
    with pytest.raises(AssertionError):
        check_zeros(lambda z: z > 0)


@st.composite
def orthonormal_codes(draw):
    rotation = draw(st.sampled_from(["orthogonal", "hadamard"]))
    d = 2 ** draw(st.integers(2, 6)) if rotation == "hadamard" else draw(st.integers(3, 64))
    return rotation, draw(st.integers(2, d)), d


def check_variance(name, distances, angle, n_bits, d, rotation):
    expected = theory.hamming_variance(angle, n_bits, d, rotation)
    deviations = (distances - n_bits * angle / math.pi) ** 2
    chance.assert_mean(name, deviations / expected, 1.0)


@settings(max_examples=chance.TABLE["variance, orthonormal"].examples)
@given(code=orthonormal_codes(), angle=st.floats(0.4, math.pi - 0.4), seed=SEEDS)
def test_the_variance_of_orthonormal_rows_is_the_one_stated_for_every_dimension(code, angle, seed):
    rotation, n_bits, d = code
    x, y = pairs(np.random.default_rng(seed), 6000, d, angle)
    distances = differing(fitted(n_bits, d, rotation, seed=seed), x, y).sum(axis=1)
    check_variance("variance, orthonormal", distances, angle, n_bits, d, rotation)


def test_the_check_of_the_variance_fails_on_rows_that_are_not_orthonormal():
    x, y = pairs(np.random.default_rng(0), 6000, 32, 1.5)
    quantizer = fitted(32, 32, "orthogonal")
    rows = quantizer._fitted().matrix
    rows = rows + 0.5 * np.roll(rows, 1, axis=0)
    damaged(quantizer, matrix=rows / np.linalg.norm(rows, axis=1, keepdims=True))
    distances = differing(quantizer, x, y).sum(axis=1)
    with pytest.raises(AssertionError, match="variance"):
        check_variance("variance, orthonormal", distances, 1.5, 32, 32, "orthogonal")


def test_the_check_of_the_variance_tells_orthonormal_rows_from_independent_ones():
    x, y = pairs(np.random.default_rng(0), 6000, 32, 1.5)
    distances = differing(fitted(32, 32, "orthogonal"), x, y).sum(axis=1)
    with pytest.raises(AssertionError, match="variance"):
        check_variance("variance, orthonormal", distances, 1.5, 32, 32, "gaussian")


def independent_distances(angle, n_bits, n, seed):
    """n distances of one pair under n draws of independent rows: one long code, cut into pieces."""
    x, y = pairs(np.random.default_rng(seed), 1, 8, angle)
    return differing(fitted(n * n_bits, 8, "gaussian", seed=seed), x, y).reshape(n, n_bits).sum(axis=1)


@settings(max_examples=chance.TABLE["variance, independent"].examples)
@given(n_bits=st.integers(2, 24), angle=st.floats(0.6, math.pi - 0.6), seed=SEEDS)
def test_the_variance_of_independent_rows_is_binomial(n_bits, angle, seed):
    distances = independent_distances(angle, n_bits, 6000, seed)
    check_variance("variance, independent", distances, angle, n_bits, 8, "gaussian")


@pytest.mark.parametrize("angle", [0.3, 0.9, 2.0])
@pytest.mark.parametrize("n_bits", [8, 32])
def test_the_distance_under_independent_rows_is_binomial(n_bits, angle):
    distances = independent_distances(angle, n_bits, 6000, 5)
    for h in range(n_bits + 1):
        probability = theory.hamming_probability(h, angle, n_bits)
        assert probability == pytest.approx(binom.pmf(h, n_bits, angle / math.pi))
        if 6000 * probability > 60:  # rarer counts are not close to normal
            chance.assert_mean("binomial law", (distances == h).astype(float), probability)


def test_blocks_beyond_d_are_independent():
    """16 dimensions: two blocks of 16 and a last one of 8. Over random rotations, since the law is over those."""
    angle, d, sizes = 1.3, 16, (16, 16, 8)
    deviations = []
    for seed in range(1000):
        x, y = pairs(np.random.default_rng(seed), 1, d, angle)
        differs = differing(fitted(sum(sizes), d, "orthogonal", seed=seed), x, y)[0]
        deviations.append(np.add.reduceat(differs - angle / math.pi, [0, 16, 32]))
    first, second, last = np.array(deviations).T
    variance = theory.hamming_variance(angle, 16, d)
    chance.assert_mean("blocks are uncorrelated", first * second / variance, 0.0)
    expected = theory.hamming_variance(angle, sum(sizes), d)
    assert expected == pytest.approx(2 * variance + theory.hamming_variance(angle, 8, d))
    chance.assert_mean("variance, blocks", (first + second + last) ** 2 / expected, 1.0)


@settings(max_examples=chance.TABLE["three vectors, one bit"].examples)
@given(d=st.integers(8, 40), near=st.floats(0.2, 1.5), more=st.floats(0, 0.6), turn=st.floats(0, math.pi), seed=SEEDS)
def test_the_steps_of_overtaking_are_the_ones_stated(d, near, more, turn, seed):
    query, first, second, between = triples(np.random.default_rng(seed), 4000, d, near, near + more, turn)
    quantizer = fitted(d, d, "orthogonal", seed=seed)
    one, other = differing(quantizer, query, first), differing(quantizer, query, second)
    far_only, near_only = theory.overtaking_steps(near, near + more, between)
    chance.assert_mean("three vectors, one bit", (other & ~one).mean(axis=1), far_only)
    chance.assert_mean("three vectors, one bit", (one & ~other).mean(axis=1), near_only)
    overtaken = (other.sum(axis=1) <= one.sum(axis=1)).astype(float)
    bound = theory.overtaking_bound(near, near + more, between, d)
    chance.assert_at_most("overtaking is bounded", overtaken, bound)


@pytest.mark.parametrize("rotation", ["orthogonal", "hadamard"])
@pytest.mark.parametrize("angle", [0.3, 1.0, math.pi / 2])
def test_the_interval_of_the_angle_covers_it_also_for_orthonormal_rows(rotation, angle):
    x, y = pairs(np.random.default_rng(1), 4000, 64, angle)
    distances = differing(fitted(64, 64, rotation), x, y).sum(axis=1)
    low, high = theory.angle_interval(distances, 64, confidence=0.95)
    missed = (angle < low) | (angle > high)
    chance.assert_at_most("interval covers", missed.astype(float), 0.05)


@settings(max_examples=chance.TABLE["cosine estimate"].examples)
@given(n_bits=st.integers(48, 64), angle=st.floats(0.2, math.pi - 0.2), seed=SEEDS)
def test_the_estimate_of_the_cosine_has_no_bias_of_order_one_over_n_bits(n_bits, angle, seed):
    x, y = pairs(np.random.default_rng(seed), 6000, 64, angle)
    distances = differing(fitted(n_bits, 64, "orthogonal", seed=seed), x, y).sum(axis=1)
    estimate, _ = theory.cosine_estimate(distances, n_bits, 64)
    chance.assert_mean("cosine estimate", estimate, math.cos(angle), slack=2 / n_bits**2)


@pytest.mark.parametrize("estimator", ["s", "g"])
@pytest.mark.parametrize("angle", [0.4, 1.4])
def test_sign_full_estimates_are_unbiased_with_the_variance_stated(estimator, angle):
    n, n_bits, d = 6000, 16, 8
    x, y = pairs(np.random.default_rng(2), 1, d, angle)
    quantizer = fitted(n * n_bits, d, "gaussian")
    signs = quantizer.encode(x).to_signs().reshape(n, n_bits)
    projected = quantizer.project(y).reshape(n, n_bits) * math.sqrt(d)
    found = theory.sign_full_cosine(signs, projected, estimator)
    chance.assert_mean("sign-full, mean", found, math.cos(angle))
    expected = theory.sign_full_variance(angle, n_bits, estimator)
    chance.assert_mean("sign-full, variance", (found - math.cos(angle)) ** 2 / expected, 1.0)


def test_frames_are_orthonormal():
    found = frames(np.random.default_rng(0), 5, 7, 3)
    assert np.allclose(found @ found.transpose(0, 2, 1), np.eye(3))
