"""Synthetic negatives are the mixtures they are said to be."""

import numpy as np
import pytest

from hashneg import losses

RNG = np.random.default_rng(0)
A = RNG.standard_normal((5, 4))
SHARED, OWN = RNG.standard_normal((9, 4)), RNG.standard_normal((5, 6, 4))
NEGATIVES = [pytest.param(SHARED, id="shared"), pytest.param(OWN, id="own")]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def hardest_of(negatives, i, count):
    rows = unit(negatives if negatives.ndim == 2 else negatives[i])
    return rows[np.argsort(-(rows @ unit(A[i])), kind="stable")[:count]]


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_mochi_mixes_as_its_formulas_say(negatives):
    u = RNG.random((5, 7, 3))
    found = losses.mochi(A, negatives, n_hardest=3, n_pairs=4, n_with_anchor=3, uniform=u)
    for i in range(5):
        hard, q = hardest_of(negatives, i, 3), unit(A[i])
        for s in range(7):
            n1, n2, a = hard[int(3 * u[i, s, 0])], hard[int(3 * u[i, s, 1])], u[i, s, 2]
            mixed = a * n1 + (1 - a) * n2 if s < 4 else a / 2 * q + (1 - a / 2) * n1
            np.testing.assert_allclose(found[i, s], unit(mixed), atol=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_synco_mixes_as_its_formulas_say(negatives):
    counts = (2, 2, 2, 1, 1, 1)
    u, noise = RNG.random((5, 9, 3)), RNG.standard_normal((5, 1, 4))
    found = losses.synco(A, negatives, n_hardest=4, counts=counts, uniform=u, normal=noise)
    kinds = np.repeat(np.arange(6), counts)
    for i in range(5):
        hard, q = hardest_of(negatives, i, 4), unit(A[i])
        for s, kind in enumerate(kinds):
            n1, n2, v = hard[int(4 * u[i, s, 0])], hard[int(4 * u[i, s, 1])], u[i, s, 2]
            mixed = [
                0.5 * v * q + (1 - 0.5 * v) * n1,
                q + (1 + 0.5 * v) * (n1 - q),
                v * n1 + (1 - v) * n2,
                n1 + 0.01 * noise[i, 0],
                n1 + 0.01 * q,
                n1 + 0.01 * np.sign(q),
            ][kind]
            np.testing.assert_allclose(found[i, s], unit(mixed), atol=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("mix", [losses.mochi, losses.synco])
def test_seeded_unit_vectors(mix, negatives):
    first = mix(A, negatives, seed=1)
    np.testing.assert_array_equal(first, mix(A, negatives, seed=1))
    assert (first != mix(A, negatives, seed=2)).any()
    np.testing.assert_allclose(np.linalg.norm(first, axis=-1), 1, atol=1e-12)


def test_masked_negatives_are_never_mixed():
    mask = np.arange(6) < np.array([6, 3, 1, 2, 0])[:, None]
    poisoned = np.where(mask[..., None], OWN, np.nan)
    found = losses.mochi(A, poisoned, n_hardest=4, mask=mask)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[4], 0)
    np.testing.assert_allclose(found[2, :16], np.broadcast_to(unit(OWN[2, 0]), (16, 4)), atol=1e-12)


def test_the_anchor_weighs_less_than_the_negative():
    u = np.full((5, 1, 3), 1 - 2.0**-53)
    found = losses.mochi(A, SHARED, n_hardest=1, n_pairs=0, n_with_anchor=1, uniform=u)
    for i in range(5):
        negative = hardest_of(SHARED, i, 1)[0]
        assert found[i, 0] @ negative >= found[i, 0] @ unit(A[i]) - 1e-9


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="counts must hold six numbers"):
        losses.synco(A, SHARED, counts=(1, 2))
    with pytest.raises(ValueError, match=r"uniform must have shape \(n, 32, 3\)"):
        losses.mochi(A, SHARED, uniform=np.zeros((5, 3, 3)))
    with pytest.raises(ValueError, match="n_hardest must be at least 1"):
        losses.mochi(A, SHARED, n_hardest=0)
