"""InfoNCE, NT-Xent and HCL against plain loops, and where one becomes another."""

import numpy as np
import pytest

import hashneg as hn
from hashneg import losses, weights

RNG = np.random.default_rng(0)
A, P = RNG.standard_normal((2, 7, 5)) * [[[3.0]], [[0.1]]]
SHARED, OWN = RNG.standard_normal((6, 5)), RNG.standard_normal((7, 4, 5))
NEGATIVES = [pytest.param(None, id="batch"), pytest.param(SHARED, id="shared"), pytest.param(OWN, id="own")]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def extra_of(negatives, i):
    """The extra negatives of anchor i."""
    return [] if negatives is None else list(unit(negatives if negatives.ndim == 2 else negatives[i]))


def plain_info_nce(a, p, negatives, t, smoothing=0.0, w=None):
    a, p, total = unit(a), unit(p), 0.0
    for i in range(len(a)):
        others = [(p[j], 1 if w is None else w[i, j]) for j in range(len(p)) if j != i]
        others += [(x, 1 if w is None else w[i, len(p) + j]) for j, x in enumerate(extra_of(negatives, i))]
        s = np.array([a[i] @ p[i], *(a[i] @ x for x, _ in others)]) / t
        log_z = np.log(np.sum(np.exp(s) * np.array([1.0, *(weight for _, weight in others)])))
        total += log_z - (1 - smoothing) * s[0] - smoothing * s.mean()
    return total / len(a)


def plain_hcl(a, p, negatives, t, beta, tau_plus):
    """As the authors write it, with exponentials."""
    z, n, total = unit(np.concatenate([a, p])), len(a), 0.0
    for i in range(2 * n):
        others = [z[j] for j in range(2 * n) if j % n != i % n] + extra_of(negatives, i % n)
        neg = np.exp(np.array([z[i] @ x for x in others]) / t)
        pos, count = np.exp(z[i] @ z[(i + n) % (2 * n)] / t), len(others)
        imp = neg**beta
        reweighted = (imp * neg).sum() / imp.mean()
        ng = max((reweighted - tau_plus * count * pos) / (1 - tau_plus), count * np.exp(-1 / t))
        total -= np.log(pos / (pos + ng))
    return total / (2 * n)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_info_nce_is_the_plain_loop(negatives, smoothing):
    found = losses.info_nce(A, P, negatives, temperature=0.4, label_smoothing=smoothing)
    assert found == pytest.approx(plain_info_nce(A, P, negatives, 0.4, smoothing), rel=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_weights_scale_the_negatives_terms(negatives):
    columns = losses.similarities(A, P, negatives).cosine.shape[1]
    w = RNG.random((7, columns)) * (RNG.random((7, columns)) < 0.8)
    found = losses.info_nce(A, P, negatives, temperature=0.4, weights=w)
    assert found == pytest.approx(plain_info_nce(A, P, negatives, 0.4, w=w), rel=1e-12)


def test_symmetric_is_the_mean_of_both_directions():
    both = losses.info_nce(A, P, SHARED, temperature=0.3, symmetric=True)
    one, other = losses.info_nce(A, P, SHARED, temperature=0.3), losses.info_nce(P, A, temperature=0.3)
    assert both == pytest.approx((one + other) / 2, rel=1e-12)


@pytest.mark.parametrize("loss", [losses.info_nce, losses.nt_xent, losses.hcl])
def test_masked_negatives_count_for_nothing(loss):
    mask = np.arange(4) < np.array([4, 3, 2, 1, 0, 2, 4])[:, None]
    changed = np.where(mask[..., None], OWN, 1e6)
    assert loss(A, P, OWN, mask=mask) == pytest.approx(loss(A, P, changed, mask=mask), rel=1e-12)
    assert loss(A, P, OWN, mask=np.zeros((7, 4), bool)) == pytest.approx(loss(A, P), rel=1e-12)
    shared = np.array([True, False, True, True, False, False])
    assert loss(A, P, SHARED, mask=shared) == pytest.approx(loss(A, P, SHARED[shared]), rel=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize(("beta", "tau_plus"), [(1.0, 0.1), (0.5, 0.01), (2.0, 0.0), (0.0, 0.05)])
def test_hcl_is_the_formula_of_its_authors(negatives, beta, tau_plus):
    found = losses.hcl(A, P, negatives, temperature=0.5, beta=beta, tau_plus=tau_plus)
    assert found == pytest.approx(plain_hcl(A, P, negatives, 0.5, beta, tau_plus), rel=1e-11)


def test_hcl_reaches_the_floor_where_positives_fill_the_sum():
    close = A + 1e-3 * P
    found = losses.hcl(close, A, temperature=0.5, tau_plus=0.9)
    assert found == pytest.approx(plain_hcl(close, A, None, 0.5, 1.0, 0.9), rel=1e-11)
    assert found == pytest.approx(np.log1p(12 * np.exp(-4)), rel=1e-3)  # N e^(-1/t) / e^(1/t)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_limits(negatives):
    """HCL with beta = 0 and tau+ = 0 is NT-Xent, with beta = 0 the debiased loss."""
    nt_xent = losses.nt_xent(A, P, negatives, temperature=0.2)
    assert losses.hcl(A, P, negatives, temperature=0.2, beta=0, tau_plus=0) == pytest.approx(nt_xent, rel=1e-13)
    debiased = losses.debiased(A, P, negatives, temperature=0.2, tau_plus=0.05)
    assert losses.hcl(A, P, negatives, temperature=0.2, beta=0, tau_plus=0.05) == debiased


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_equal_weights_are_info_nce(negatives):
    """Soft-InfoNCE with alpha = 0, UnReMix with all scores off, HCL's weights with beta = 0."""
    pairs = losses.similarities(A, P, negatives)
    plain = losses.info_nce(A, P, negatives)
    for w in (
        weights.soft_info_nce(pairs.cosine, alpha=0.0, mask=pairs.mask),
        weights.hcl(pairs.cosine, beta=0.0, mask=pairs.mask),
        weights.unremix(A, P, negatives, similarity=0, uncertainty=0, representativeness=0),
    ):
        assert losses.info_nce(A, P, negatives, weights=w) == pytest.approx(plain, rel=1e-13)


def test_unremix_of_negatives_that_are_all_alike_is_info_nce():
    """A constant score is scaled to 1, so equal negatives give equal weights."""
    x = np.eye(6)
    assert losses.info_nce(x, x, weights=weights.unremix(x, x)) == pytest.approx(losses.info_nce(x, x), rel=1e-13)


def test_hcl_weights_give_the_debiased_sum():
    """The same estimate, once as weights in InfoNCE and once by the formula with exponentials."""
    pairs = losses.similarities(A, P)
    w = weights.hcl(pairs.cosine, temperature=0.5, mask=pairs.mask, positive=pairs.positive, tau_plus=0.05)
    neg = np.where(pairs.mask, np.exp(pairs.cosine / 0.5), 0.0)
    imp = np.where(pairs.mask, neg, np.nan)
    estimate = ((imp * neg).sum(axis=1, where=pairs.mask) / np.nanmean(imp, axis=1) - 0.05 * 6 * np.exp(
        pairs.positive / 0.5)) / 0.95  # fmt: skip
    np.testing.assert_allclose((w * neg).sum(axis=1), np.maximum(estimate, 6 * np.exp(-2)), rtol=1e-11)


def test_nt_xent_is_the_plain_loop():
    assert losses.nt_xent(A, P, OWN, temperature=0.5) == pytest.approx(plain_hcl(A, P, OWN, 0.5, 0.0, 0.0), rel=1e-12)


def test_length_does_not_matter_and_zero_vectors_are_at_a_right_angle():
    scales = 10.0 ** RNG.integers(-30, 30, (7, 1))
    assert losses.info_nce(A * scales, P, SHARED) == pytest.approx(losses.info_nce(A, P, SHARED), rel=1e-12)
    padded = np.concatenate([SHARED, np.zeros((1, 5))])
    pairs = losses.similarities(A, P, padded)
    np.testing.assert_array_equal(pairs.cosine[:, -1], 0)


def test_one_item_alone_has_loss_zero():
    assert losses.info_nce(A[:1], P[:1], temperature=0.01) == 0
    assert losses.nt_xent(A[:1], P[:1], temperature=0.01) == 0


def test_nan_is_passed_on():
    """A loss scaler has to see it."""
    bad = A.copy()
    bad[3, 1] = np.nan
    assert np.isnan(losses.info_nce(bad, P))
    assert np.isnan(losses.info_nce(A, P, np.full((2, 5), np.nan)))


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match=r"anchors and positives must have one shape \(n, d\)"):
        losses.info_nce(A, P[:, :3])
    with pytest.raises(ValueError, match=r"negatives must have shape \(m, 5\) or \(7, k, 5\)"):
        losses.info_nce(A, P, OWN[:3])
    with pytest.raises(TypeError, match="anchors must hold floats"):
        losses.info_nce(np.ones((2, 2), int), P)
    with pytest.raises(TypeError, match="anchors must be an array"):
        losses.info_nce(A.tolist(), P)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        losses.info_nce(A, P, temperature=-0.1)
    with pytest.raises(ValueError, match=r"weights must have shape \(7, 13\)"):
        losses.info_nce(A, P, SHARED, weights=np.ones((7, 7)))
    with pytest.raises(ValueError, match="so it needs negatives"):
        losses.info_nce(A, P, mask=np.ones(3, bool))
    with pytest.raises(TypeError, match="mask must hold bools"):
        losses.info_nce(A, P, OWN, mask=np.ones((7, 4)))
    with pytest.raises(ValueError, match=r"mask must have shape \(7, 4\)"):
        losses.info_nce(A, P, OWN, mask=np.ones((7, 3), bool))
    with pytest.raises(ValueError, match="label_smoothing must be at most 1"):
        losses.info_nce(A, P, label_smoothing=1.5)
    with pytest.raises(ValueError, match="tau_plus is a share"):
        losses.hcl(A, P, tau_plus=1.0)


def test_arrays_of_two_frameworks_are_refused():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="positives must be of the framework of anchors"):
        losses.info_nce(A, strict.asarray(P))


def test_nothing_beyond_the_standard_is_used():
    """array-api-strict has the standard's functions and no others."""
    strict = pytest.importorskip("array_api_strict")
    a, p, negatives = (strict.asarray(x) for x in (A, P, SHARED))
    for loss in (losses.info_nce, losses.nt_xent, losses.hcl, losses.groco):
        options = {"n_negatives": 3} if loss is losses.groco else {}
        assert float(loss(a, p, negatives, **options)) == pytest.approx(float(loss(A, P, SHARED, **options)), rel=1e-12)
    w = weights.unremix(a, p, negatives)
    np.testing.assert_allclose(np.from_dlpack(w), weights.unremix(A, P, SHARED), atol=1e-12)
    h = strict.asarray(A)
    assert float(hn.hashing.nsh(h, a, h, p)) == pytest.approx(float(hn.hashing.nsh(A, A, A, P)), rel=1e-12)
