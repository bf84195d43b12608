"""What the formulas promise without chance: limits, inverses, order, coverage summed exactly, and array types."""

import math

import numpy as np
import pytest
from helpers.requirements import need
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hashneg import theory

ANGLES = st.floats(0.0, math.pi)
BITS = st.integers(1, 400)
RANDOM = ["orthogonal", "gaussian", "hadamard"]


@given(ANGLES)
def test_angle_and_probability_are_inverse(angle):
    assert theory.angle(theory.collision_probability(angle)) == pytest.approx(angle, abs=1e-12)


@given(angle=ANGLES, n_bits=BITS, dim=st.integers(1, 200), rotation=st.sampled_from(RANDOM))
def test_the_variance_lies_between_zero_and_the_binomial_one_and_is_symmetric(angle, n_bits, dim, rotation):
    binomial = theory.hamming_variance(angle, n_bits, dim, "gaussian")
    variance = theory.hamming_variance(angle, n_bits, dim, rotation)
    assert binomial == pytest.approx(n_bits * angle / math.pi * (1 - angle / math.pi))
    assert -1e-9 <= variance <= binomial + 1e-9
    assert theory.hamming_variance(math.pi - angle, n_bits, dim, rotation) == pytest.approx(variance, abs=1e-6 * n_bits)


def test_the_variance_of_orthonormal_rows_by_hand():
    for angle in (0.3, math.pi / 2, 2.8):
        p = angle / math.pi
        assert theory.hamming_variance(angle, 1, 7) == pytest.approx(p * (1 - p))
        both = max(2 * p - 1, 0)  # two rows in a plane are a quarter turn apart
        assert theory.hamming_variance(angle, 2, 2) == pytest.approx(2 * p + 2 * both - 4 * p**2)
        large = 4096 * p * (1 - p) - 4096 * math.sin(angle) ** 2 / math.pi**2
        assert theory.hamming_variance(angle, 4096, 4096) == pytest.approx(large, rel=2e-3)
    assert theory.hamming_variance(1.0, 300, 128) == pytest.approx(
        2 * theory.hamming_variance(1.0, 128, 128) + theory.hamming_variance(1.0, 44, 128)
    )
    assert theory.hamming_variance(1.0, 100, 100, "hadamard") == theory.hamming_variance(1.0, 100, 128)
    # 16 dimensions at a right angle: .566 of the binomial variance, where the formula for large d says .595
    assert theory.hamming_variance(math.pi / 2, 16, 16) / 4 == pytest.approx(0.566, abs=1e-3)


@pytest.mark.parametrize("function", [theory.hamming_variance, theory.cosine_variance, theory.rabitq_variance])
@pytest.mark.parametrize("rotation", ["itq", "identity"])
def test_rotations_that_are_not_drawn_at_random_have_no_law(function, rotation):
    with pytest.raises(ValueError, match="not drawn at random"):
        function(1.0, 8, 8, rotation=rotation)
    with pytest.raises(ValueError, match="rotation"):
        function(1.0, 8, 8, rotation="other")


@given(angle=ANGLES, n_bits=st.integers(1, 60))
def test_the_binomial_law_sums_to_one_and_has_its_mean(angle, n_bits):
    counts = np.arange(n_bits + 1)
    law = theory.hamming_probability(counts, angle, n_bits)
    assert law.sum() == pytest.approx(1)
    assert law @ counts == pytest.approx(n_bits * angle / math.pi)


@given(angle=st.floats(0.01, 3.13), n_bits=st.integers(1, 80), h=st.integers(0, 80))
def test_tail_bounds_hold_exactly_and_chernoff_is_the_sharper(angle, n_bits, h):
    h, p = min(h, n_bits), angle / math.pi
    q = h / n_bits
    tail = binom.cdf(h, n_bits, p) if q <= p else binom.sf(h - 1, n_bits, p)
    chernoff = theory.chernoff_bound(q, angle, n_bits)
    assert tail <= chernoff * (1 + 1e-9)
    assert chernoff <= math.exp(-2 * n_bits * (q - p) ** 2) + 1e-9
    counts = np.arange(n_bits + 1)
    far = np.abs(counts / n_bits - p) >= abs(q - p) - 1e-12
    assert binom.pmf(counts, n_bits, p)[far].sum() <= theory.hoeffding_bound(abs(q - p), n_bits) + 1e-9


@given(angle=ANGLES, n_bits=st.integers(1, 120), confidence=st.floats(0.5, 0.999))
def test_the_interval_covers_every_angle_with_the_confidence_promised(angle, n_bits, confidence):
    counts = np.arange(n_bits + 1)
    low, high = theory.angle_interval(counts, n_bits, confidence)
    covers = (low <= angle + 1e-12) & (angle <= high + 1e-12)
    assert theory.hamming_probability(counts, angle, n_bits)[covers].sum() >= confidence - 1e-9
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()
    assert (low[0], high[-1]) == (0, pytest.approx(math.pi))
    assert ((low <= counts * math.pi / n_bits) & (counts * math.pi / n_bits <= high + 1e-12)).all()
    wider = theory.angle_interval(counts, n_bits, (1 + confidence) / 2)
    assert (wider[0] <= low).all()
    assert (wider[1] >= high).all()


def test_the_estimate_of_the_cosine_is_closer_to_unbiased_than_the_plain_one():
    for n_bits in (16, 64):
        counts = np.arange(n_bits + 1)
        for angle in (0.3, 1.0, 2.5):
            law = theory.hamming_probability(counts, angle, n_bits)
            estimate, error = theory.cosine_estimate(counts, n_bits, 64, "gaussian")
            bias = law @ estimate - math.cos(angle)
            plain = law @ np.cos(math.pi * counts / n_bits) - math.cos(angle)
            assert abs(bias) < 0.15 * abs(plain)
            assert law @ error == pytest.approx(math.sqrt(law @ (estimate - law @ estimate) ** 2), rel=0.12)
            assert theory.cosine_variance(angle, n_bits, 64, "gaussian") == pytest.approx((law @ error) ** 2, rel=0.25)


@given(near=st.floats(0.0, 1.5), more=st.floats(0.0, 1.5), turn=st.floats(0, math.pi), n_bits=BITS)
def test_overtaking_steps_and_bounds_agree_with_each_other(near, more, turn, n_bits):
    far = near + more
    cosine = math.cos(near) * math.cos(far) + math.sin(near) * math.sin(far) * math.cos(turn)
    between = math.acos(max(-1.0, min(1.0, cosine)))
    far_only, near_only = theory.overtaking_steps(near, far, between)
    assert far_only - near_only == pytest.approx(more / math.pi, abs=1e-6)
    assert far_only + near_only == pytest.approx(between / math.pi, abs=1e-6)
    bound = theory.overtaking_bound(near, far, between, n_bits)
    assert 0 <= bound <= math.exp(-n_bits * (more / math.pi) ** 2 / 2) + 1e-6
    assert theory.overtaking_bound(far, near, between, n_bits) == pytest.approx(1 if more > 1e-9 else bound)
    probability = theory.overtaking_probability(near, far, between, n_bits, 64)
    back = theory.overtaking_probability(far, near, between, n_bits, 64)
    assert probability + back == pytest.approx(1)
    assert probability <= 0.5 + 1e-9


def test_the_probability_of_overtaking_is_close_to_the_exact_one_for_independent_rows():
    up, down = theory.overtaking_steps(0.8, 1.0, 0.9)
    law = np.array([1.0])
    for _ in range(96):
        law = np.convolve(law, [down, 1 - up - down, up])
    exact = law[:96].sum() + law[96] / 2
    assert theory.overtaking_probability(0.8, 1.0, 0.9, 96, 96, "gaussian") == pytest.approx(exact, abs=2e-3)
    assert law[:97].sum() <= theory.overtaking_bound(0.8, 1.0, 0.9, 96)
    assert theory.overtaking_probability(0.8, 1.0, 0.9, 96, 96) < exact


def test_the_bound_on_missing_the_nearest_is_the_mean_number_of_overtakers_over_k():
    far, between = np.linspace(0.6, 1.5, 500), np.linspace(0.5, 1.4, 500)
    single = theory.overtaking_bound(0.5, far, between, 128)
    assert theory.miss_bound(0.5, far, between, 128, 10) == pytest.approx(min(1, single.sum() / 10))
    assert theory.miss_bound(0.5, far, between, 8, 1) == 1
    both = theory.miss_bound(np.array([0.5, 0.55]), np.stack([far, far]), np.stack([between, between]), 256, 10)
    assert both.shape == (2,)
    assert both[0] == pytest.approx(theory.miss_bound(0.5, far, between, 256, 10))


def test_three_angles_that_no_vectors_have_are_refused():
    with pytest.raises(ValueError, match="three vectors"):
        theory.overtaking_steps(0.2, 1.0, 0.3)
    with pytest.raises(ValueError, match="three vectors"):
        theory.overtaking_steps(2.5, 2.5, 2.0)
    with pytest.raises(ValueError, match="three vectors"):
        theory.overtaking_steps(np.array([0.5, np.nan]), 1.0, 0.6)


def test_expected_overlap_grows_with_bits_and_pool_and_reaches_its_limits():
    angles = np.random.default_rng(0).normal(1.4, 0.15, (3, 2000))
    by_bits = [theory.expected_overlap(angles, 10, b, 64).mean() for b in (16, 64, 256, 4096, 1 << 20)]
    assert by_bits == sorted(by_bits)
    assert by_bits[-1] > 0.95
    by_pool = [theory.expected_overlap(angles, 10, 64, 64, pool=pool).mean() for pool in (10, 20, 100, 2000)]
    assert by_pool == sorted(by_pool)
    assert by_pool[-1] == pytest.approx(1, abs=1e-3)
    orthonormal = theory.expected_overlap(angles, 10, 64, 64).mean()
    assert theory.expected_overlap(angles, 10, 64, 64, rotation="gaussian").mean() < orthonormal
    assert theory.expected_overlap(angles, 10, 64, 64, residual=0.5).mean() > orthonormal
    with pytest.raises(ValueError, match="at least 10"):
        theory.expected_overlap(angles, 10, 64, 64, pool=5)
    with pytest.raises(ValueError, match=r"\(nq, n\)"):
        theory.expected_overlap(angles[0], 10, 64, 64)


CALLS = {
    "collision_probability": lambda x: theory.collision_probability(x),
    "angle": lambda x: theory.angle(x / 4),
    "hamming_variance": lambda x: theory.hamming_variance(x, 40, 16),
    "hamming_probability": lambda x: theory.hamming_probability(2, x, 40),
    "hoeffding_bound": lambda x: theory.hoeffding_bound(x, 3),
    "chernoff_bound": lambda x: theory.chernoff_bound(0.2, x, 10),
    "angle_interval": lambda x: theory.angle_interval(x, 40)[1],
    "cosine_estimate": lambda x: theory.cosine_estimate(x, 40, 16)[0],
    "cosine_variance": lambda x: theory.cosine_variance(x, 40, 16),
    "overtaking_steps": lambda x: theory.overtaking_steps(x, x, 0.5)[0],
    "overtaking_bound": lambda x: theory.overtaking_bound(0.9, x, 1.0, 12),
    "overtaking_probability": lambda x: theory.overtaking_probability(0.9, x, 1.0, 12, 8),
    "rabitq_variance": lambda x: theory.rabitq_variance(x, 40, 16),
    "sign_full_cosine": lambda x: theory.sign_full_cosine(x - 1, x - 1),
    "sign_full_variance": lambda x: theory.sign_full_variance(x, 16, "g"),
}
SCIPY = {"hamming_probability", "angle_interval", "overtaking_probability"}


@pytest.mark.parametrize("name", CALLS)
def test_arrays_come_back_as_arrays_of_the_same_kind(name, framework):
    x = np.array([[0.6, 1.0], [1.5, 1.8]])
    expected = CALLS[name](x)
    found = CALLS[name](framework.array(x))
    found = framework.to_numpy(found)
    assert found.dtype == (np.float64 if framework.has_int64 else np.float32)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert framework.to_numpy(CALLS[name](framework.array(x.astype(np.float32)))).dtype == np.float32


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("sign_full_cosine",)])
def test_numbers_come_back_as_floats(name):
    one, several = CALLS[name](1.0), CALLS[name](np.array([1.0]))
    assert type(one) is float
    assert one == pytest.approx(float(several[0]))


@pytest.mark.parametrize("name", [name for name in CALLS if name not in SCIPY])
def test_gradients_and_jit_pass_through(name):
    jax, torch = need("jax"), need("torch")
    x = np.array([0.7, 1.2], np.float32)
    step = 1e-4
    slope = (CALLS[name](x + np.float64(step)).sum() - CALLS[name](x - np.float64(step)).sum()) / (2 * step)
    tensor = torch.tensor(x, requires_grad=True)
    CALLS[name](tensor).sum().backward()
    assert float(tensor.grad.sum()) == pytest.approx(slope, rel=2e-3, abs=1e-3)
    gradient = jax.grad(lambda v: CALLS[name](v).sum())(jax.numpy.asarray(x))
    assert float(gradient.sum()) == pytest.approx(slope, rel=2e-3, abs=1e-3)
    compiled = jax.jit(CALLS[name])(jax.numpy.asarray(x))
    assert np.allclose(compiled, CALLS[name](x), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_read_as_what_it_is():
    torch = need("torch")
    x = torch.tensor([0.5, 1.5], dtype=torch.bfloat16)
    for name in ("collision_probability", "hamming_probability"):
        assert np.allclose(CALLS[name](x).numpy(), CALLS[name](np.array([0.5, 1.5])), rtol=1e-5)


def test_wrong_arguments_are_named():
    for wrong in ("1", None, True, [1.0]):
        with pytest.raises(TypeError, match="angle must be a number or an array"):
            theory.collision_probability(wrong)
    for wrong in (-0.1, 3.2, math.nan, np.array([1.0, 4.0])):
        with pytest.raises(ValueError, match=r"angle must lie between 0 and 3\.142"):
            theory.collision_probability(wrong)
    with pytest.raises(ValueError, match="probability must lie"):
        theory.angle(1.2)
    with pytest.raises(ValueError, match="n_bits must be at least 1"):
        theory.hamming_variance(1.0, 0, 8)
    with pytest.raises(ValueError, match="distance must lie between 0 and 8"):
        theory.angle_interval(9, 8)
    for confidence in (0, 1, 1.5):
        with pytest.raises(ValueError, match="confidence"):
            theory.angle_interval(3, 8, confidence)
    with pytest.raises(ValueError, match="estimator"):
        theory.sign_full_variance(1.0, 8, "t")
    with pytest.raises(ValueError, match="one number for each bit"):
        theory.sign_full_cosine(np.ones((2, 3)), np.ones((2, 4)))
    torch = need("torch")
    with pytest.raises(TypeError, match="framework of near"):
        theory.overtaking_steps(torch.ones(1), np.ones(1), 1.0)


def test_values_are_not_checked_where_the_user_says_so(monkeypatch):
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    assert theory.collision_probability(4.0) < 0


def test_every_name_is_documented_with_an_example():
    for name in theory.__all__:
        value = getattr(theory, name)
        assert value.__doc__
        if name[0].islower():
            assert ">>>" in value.__doc__, name
