"""Weights against plain loops, and their limits."""

import numpy as np
import pytest

import hashneg as hn
from hashneg import weights

RNG = np.random.default_rng(0)
A, P = RNG.standard_normal((2, 6, 4))
SHARED, OWN = RNG.standard_normal((5, 4)), RNG.standard_normal((6, 3, 4))
NEGATIVES = [pytest.param(None, id="batch"), pytest.param(SHARED, id="shared"), pytest.param(OWN, id="own")]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def min_max(x):
    return np.ones_like(x) if np.ptp(x) < 1e-12 else (x - x.min()) / np.ptp(x)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("factors", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 2, 0)])
def test_unremix_is_its_three_scores(negatives, factors):
    """Gradients as explicit outer products, distances pair by pair."""
    t, n, a, p = 0.3, 6, unit(A), unit(P)
    eye = np.eye(n)
    found = weights.unremix(
        A, P, negatives, temperature=t, similarity=factors[0], uncertainty=factors[1], representativeness=factors[2]
    )
    for i in range(n):
        items = [(j, p[j], np.outer(softmax(p[j] @ a.T / t) - eye[j], p[j])) for j in range(n) if j != i]
        extra = [] if negatives is None else unit(negatives if negatives.ndim == 2 else negatives[i])
        for j, x in enumerate(extra):
            guess = softmax(x @ a.T / t)
            items.append((n + j, x, np.outer(guess - eye[guess.argmax()], x)))
        own = np.outer(softmax(a[i] @ p.T / t) - eye[i], a[i])
        rows = np.array([x for _, x, _ in items])
        scores = (
            rows @ a[i],
            np.array([(own * gradient).sum() for _, _, gradient in items]),
            np.array(
                [np.mean([((x - y) ** 2).sum() for k, y in enumerate(rows) if k != j]) for j, x in enumerate(rows)]
            ),
        )
        total = sum(factor * min_max(score) for factor, score in zip(factors, scores, strict=True))
        expected = np.zeros(found.shape[1])
        expected[[column for column, _, _ in items]] = total * len(items) / total.sum()
        np.testing.assert_allclose(found[i], expected, atol=1e-10)


def test_unremix_leaves_padding_out():
    mask = np.array([3, 2, 1, 0, 3, 3])[:, None] > np.arange(3)
    found = weights.unremix(A, P, np.where(mask[..., None], OWN, 1e3), mask=mask)
    again = weights.unremix(A, P, np.where(mask[..., None], OWN, -7.0), mask=mask)
    np.testing.assert_allclose(found, again, atol=1e-12)
    np.testing.assert_array_equal(found[:, 6:] == 0, ~mask | (found[:, 6:] == 0))
    np.testing.assert_allclose(found[3, :6], weights.unremix(A, P)[3], atol=1e-12)


def test_importance_of_a_constant_score_is_one_also_up_to_rounding():
    constant = np.full((2, 7), 0.1, np.float32)
    constant[:, ::2] = np.nextafter(constant[:, ::2], np.float32(1))
    score = np.arange(14.0, dtype=np.float32).reshape(2, 7)
    both = weights.importance(constant, score)
    expected = 1 + (score - score[:, :1]) / 6
    np.testing.assert_allclose(both, expected * 7 / expected.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(weights.importance(constant), 1)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (9, 4), (2, 5, 4)])
def test_representativeness_is_the_mean_distance_to_the_others(shape):
    x = RNG.standard_normal(shape)
    f = unit(x)
    distance = ((f[..., :, None, :] - f[..., None, :, :]) ** 2).sum(axis=-1)
    expected = distance.sum(axis=-1) / max(shape[-2] - 1, 1)
    np.testing.assert_allclose(weights.representativeness(x), expected, atol=1e-12)


@pytest.mark.parametrize(("n", "n_bits"), [(1, 5), (2, 8), (50, 13), (20000, 64)])
def test_code_representativeness_is_the_mean_hamming_distance(n, n_bits):
    codes = hn.Codes.from_signs(RNG.standard_normal((n, n_bits)))
    found = weights.code_representativeness(codes)
    some = RNG.integers(n, size=5)
    expected = hn.hamming_distances(codes[some], codes).sum(axis=1) / max(n - 1, 1)
    np.testing.assert_allclose(found[some], expected, rtol=1e-12)
    np.testing.assert_array_equal(weights.code_representativeness(codes.data), found)


def test_gradient_similarity_is_that_of_outer_products():
    residuals, features = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 5))
    gradients = np.einsum("nc,nd->ncd", residuals, features).reshape(4, -1)
    found = weights.gradient_similarity(residuals, features, residuals, features)
    np.testing.assert_allclose(found, gradients @ gradients.T, atol=1e-12)
    own = weights.gradient_similarity(residuals, features, np.stack([residuals] * 4), np.stack([features] * 4))
    np.testing.assert_allclose(own, found, atol=1e-12)


def test_gradient_similarity_is_that_of_autodiff():
    torch = pytest.importorskip("torch")
    h, last = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double(), torch.zeros(4, 5).double()
    last += torch.linspace(-1, 1, 20).reshape(4, 5)
    labels = torch.tensor([0, 3, 1])
    rows = []
    for i in range(3):
        w = last.clone().requires_grad_()
        torch.nn.functional.cross_entropy(h[i : i + 1] @ w, labels[i : i + 1]).backward()
        rows.append(w.grad.reshape(-1))
    residuals = torch.softmax(h @ last, dim=1) - torch.nn.functional.one_hot(labels, 5)
    found = weights.gradient_similarity(residuals, h, residuals, h)
    torch.testing.assert_close(found, torch.stack(rows) @ torch.stack(rows).T)


def test_soft_info_nce_is_its_formula():
    s = RNG.standard_normal((3, 5))
    for row, w in zip(s, weights.soft_info_nce(s, alpha=0.8, beta=1.1, temperature=0.5, floor=0.3), strict=True):
        expected = np.maximum((1.1 - 0.8 * softmax(row / 0.5)) / (1.1 - 0.8 / 5), 0.3)
        np.testing.assert_allclose(w, expected, atol=1e-12)
    mask = np.array([[True, True, False, True, False]] * 3)
    masked = weights.soft_info_nce(np.where(mask, s, np.nan), alpha=0.8, mask=mask)
    np.testing.assert_allclose(masked[:, mask[0]], weights.soft_info_nce(s[:, mask[0]], alpha=0.8), atol=1e-12)
    np.testing.assert_array_equal(masked[:, ~mask[0]], 0)


def test_hcl_weights_are_tilted_and_have_mean_one():
    s = RNG.uniform(-1, 1, (3, 5))
    w = weights.hcl(s, temperature=0.1, beta=0.5)
    expected = np.exp(0.5 * s / 0.1)
    np.testing.assert_allclose(w, expected / expected.mean(axis=1, keepdims=True), rtol=1e-12)
    debiased = weights.hcl(s, temperature=0.1, beta=0.5, positive=s.max(axis=1), tau_plus=0.01)
    ratio = debiased / w
    np.testing.assert_allclose(ratio, ratio[:, :1] + np.zeros(5), rtol=1e-10)  # one factor for each row


def test_positive_aware_weights_keep_what_lies_within_all_limits():
    s, positive = np.round(RNG.uniform(-1, 1, (50, 9)), 1), np.round(RNG.uniform(-1, 1, 50), 1)
    found = weights.positive_aware(s, positive, min_score=-0.7, max_score=0.8, absolute_margin=0.1, relative_margin=0.5)
    for row, pos, w in zip(s, positive, found, strict=True):
        for score, weight in zip(row, w, strict=True):
            assert weight == (-0.7 <= score <= 0.8 and score <= pos - 0.1 and score <= pos - abs(pos) * 0.5)
    assert 0 < found.mean() < 1


def test_wrong_arguments_are_refused():
    s = np.zeros((2, 3))
    with pytest.raises(ValueError, match="beta must be above alpha"):
        weights.soft_info_nce(s, alpha=1.0)
    with pytest.raises(ValueError, match="so it needs positive"):
        weights.hcl(s, tau_plus=0.1)
    with pytest.raises(ValueError, match="so it needs positive"):
        weights.positive_aware(s, relative_margin=0.05)
    with pytest.raises(TypeError, match="mask must hold bools"):
        weights.hcl(s, mask=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"positive must have shape \(2,\)"):
        weights.hcl(s, positive=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"factors\[1\] must be at least 0"):
        weights.unremix(A, P, uncertainty=-1.0)
    with pytest.raises(TypeError, match="codes must be Codes or a uint8 array"):
        weights.code_representativeness(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="expected"):
        weights.gradient_similarity(A, P, A[:, :2], P)
