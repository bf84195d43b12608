"""Soft sorts against plain references: rows, columns, limits, the first m rows, ties."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn
from hashneg import sorting

NETWORKS = [
    pytest.param(partial(sorting.sorting_network, network=network, relaxation=relaxation), id=f"{network}-{relaxation}")
    for network in ("odd_even", "bitonic")
    for relaxation in ("logistic", "cauchy", "reciprocal", "optimal")
]
SOFTMAX = [pytest.param(sorting.softsort, id="softsort"), pytest.param(sorting.neuralsort, id="neuralsort")]
LENGTHS = [1, 2, 3, 7, 8, 13]


def scores_of(n: int, lists: int = 3) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((lists, n))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("sort", SOFTMAX + NETWORKS)
def test_rows_sum_to_one_and_m_gives_the_first_rows(sort, n):
    scores = scores_of(n)
    p = sort(scores, 0.3)
    assert p.shape == (3, n, n)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-12)
    for m in {1, (n + 1) // 2, n}:
        np.testing.assert_allclose(sort(scores, 0.3, m=m), p[:, :m], atol=1e-13)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("sort", NETWORKS)
def test_networks_are_doubly_stochastic_and_keep_the_sum(sort, n):
    scores = scores_of(n)
    p = sort(scores, 0.3)
    np.testing.assert_allclose(p.sum(axis=-2), 1, atol=1e-12)
    np.testing.assert_allclose((p @ scores[..., None]).sum(axis=(1, 2)), scores.sum(axis=1), atol=1e-12)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("sort", SOFTMAX + NETWORKS)
def test_towards_zero_temperature_and_hard_are_argsort(sort, n):
    scores = scores_of(n)
    exact = np.eye(n)[np.argsort(-scores, axis=-1)]
    np.testing.assert_allclose(sort(scores, 1e-7), exact, atol=1e-3)
    np.testing.assert_array_equal(sort(scores, 0.5, hard=True), exact)


@pytest.mark.parametrize("sort", SOFTMAX + NETWORKS)
def test_a_common_shift_changes_nothing(sort):
    scores = scores_of(6)
    np.testing.assert_allclose(sort(scores + 1000.0, 0.3), sort(scores, 0.3), atol=1e-9)


@pytest.mark.parametrize("sort", SOFTMAX + NETWORKS)
def test_float32_stays_finite_with_steep_scores(sort):
    scores = (scores_of(9) * 1e4).astype(np.float32)
    p = sort(scores, 1e-3)
    assert p.dtype == np.float32
    assert np.isfinite(p).all()
    np.testing.assert_array_equal(p.argmax(axis=-1), np.argsort(-scores, axis=-1))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.sampled_from([0.1, 1.0, 10.0]))
def test_neuralsort_is_its_formula_also_with_ties(values, temperature):
    s = np.array(values, np.float64)
    n = len(s)
    gaps = np.abs(s[:, None] - s).sum(axis=1)
    logits = np.array([(n + 1 - 2 * i) * s - gaps for i in range(1, n + 1)]) / temperature
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(sorting.neuralsort(s, temperature), e / e.sum(axis=1, keepdims=True), atol=1e-10)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_softsort_is_its_formula(power):
    s = scores_of(5, lists=1)[0]
    distance = np.abs(np.sort(s)[::-1, None] - s) ** power
    e = np.exp(-distance / 0.4)
    np.testing.assert_allclose(sorting.softsort(s, 0.4, power=power), e / e.sum(axis=1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize(("relaxation", "share"), [
    ("logistic", lambda v: 1 / (1 + np.exp(-v))),
    ("cauchy", lambda v: np.arctan(v) / np.pi + 0.5),
    ("reciprocal", lambda v: 0.5 * (v / (2 + abs(v)) + 1)),
    ("optimal", lambda v: v + 0.5 if abs(v) <= 0.25 else 1 - 1 / (16 * v) if v > 0 else -1 / (16 * v)),
])  # fmt: skip
def test_two_scores_meet_in_one_comparator(relaxation, share):
    for difference in (-3.0, -0.2, 0.0, 0.1, 5.0):
        p = sorting.sorting_network(np.array([difference, 0.0]), 0.5, network="bitonic", relaxation=relaxation)
        stay = share(difference / 0.5)
        np.testing.assert_allclose(p, [[stay, 1 - stay], [1 - stay, stay]], atol=1e-12)


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_networks_sort_every_permutation_exactly_when_steep(n, seed):
    scores = np.random.default_rng(seed).permutation(n).astype(np.float64)
    for network in ("odd_even", "bitonic"):
        p = sorting.sorting_network(scores, 1e-3, network=network, relaxation="logistic")
        np.testing.assert_allclose(p @ scores, np.arange(n)[::-1], atol=1e-9)


def test_soft_sort_of_codes_tends_to_the_exact_hamming_order():
    signs = np.where(np.random.default_rng(0).random((40, 24)) < 0.5, -1.0, 1.0)
    codes = hn.Codes.from_signs(signs)
    similarity = hn.hashing.hamming_similarity(signs, signs)
    exact = hn.hamming_topk(codes, codes, 40)
    hard = sorting.softsort(similarity, 0.1, hard=True)
    np.testing.assert_array_equal(hard.argmax(axis=-1), exact.indices)
    soft = sorting.softsort(similarity, 1e-5)
    distances = 24 * (1 - soft @ similarity[..., None])[..., 0]
    np.testing.assert_allclose(distances, exact.distances, atol=1e-9)


def test_sorted_gather_takes_rows_in_order():
    scores, values = scores_of(5), np.random.default_rng(1).standard_normal((5, 3))
    p = sorting.softsort(scores, 0.1, m=2, hard=True)
    np.testing.assert_array_equal(sorting.sorted_gather(p, values), values[np.argsort(-scores)[:, :2]])


@pytest.mark.parametrize("sort", [*SOFTMAX, NETWORKS[0]])
def test_wrong_arguments_name_the_fix(sort):
    scores = scores_of(4)
    with pytest.raises(ValueError, match="m=5 ranks were asked for, but scores have only n=4"):
        sort(scores, m=5)
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        sort(scores, 0.0)
    with pytest.raises(TypeError, match="scores must hold floats"):
        sort(np.arange(4))
    with pytest.raises(TypeError, match="scores must be an array"):
        sort([0.1, 0.2])
    with pytest.raises(ValueError, match=r"n > 0"):
        sort(np.zeros((2, 0)))


def test_wrong_names_and_shapes_are_refused():
    with pytest.raises(ValueError, match="network must be one of"):
        sorting.sorting_network(scores_of(3), network="bubble")
    with pytest.raises(ValueError, match="relaxation must be one of"):
        sorting.sorting_network(scores_of(3), relaxation="step")
    with pytest.raises(ValueError, match="power must be at least 1"):
        sorting.softsort(scores_of(3), power=0.5)
    with pytest.raises(ValueError, match="must share n"):
        sorting.sorted_gather(np.eye(3), np.eye(4))
