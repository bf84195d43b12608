"""Learned codes: signs, soft Hamming similarity, and their losses."""

import numpy as np
import pytest
from helpers import gradients

import hashneg as hn
from hashneg import hashing, losses

RNG = np.random.default_rng(0)
H, G = RNG.standard_normal((2, 6, 4))
Z, Y = RNG.standard_normal((2, 6, 3))
U = RNG.random((2, 6, 4))


@pytest.fixture(params=gradients.ALL)
def framework(request):
    return request.param()


def test_signs_are_those_of_codes():
    h = np.append(H, [[0.0, -0.0, 1e-30, -1e-30]], axis=0)
    signs = hashing.straight_through_sign(h)
    np.testing.assert_array_equal(hn.Codes.from_signs(signs).data, hn.Codes.from_signs(h).data)
    np.testing.assert_array_equal(signs[-1], [1, 1, 1, -1])


def test_straight_through_gradients(framework):
    weights = gradients._weights(H.shape)
    value, (grad,) = framework(hashing.straight_through_sign, H)
    np.testing.assert_array_equal(value, np.where(H >= 0, 1, -1))
    np.testing.assert_array_equal(grad, weights)
    _, (clipped,) = framework(lambda h: hashing.straight_through_sign(h, clip=True), H)
    np.testing.assert_array_equal(clipped, np.where(np.abs(H) <= 1, weights, 0))
    value, (grad, _) = framework(hashing.stochastic_sign, H, U[0])
    np.testing.assert_array_equal(value, np.where(U[0] < 1 / (1 + np.exp(-H)), 1, -1))
    np.testing.assert_allclose(grad, weights * (1 - np.tanh(H / 2) ** 2) / 2, rtol=1e-12)
    value, (grad,) = framework(hashing.half_sign, H)
    np.testing.assert_array_equal(value, np.where(H - np.median(H, axis=0) > 0, 1, -1))
    np.testing.assert_array_equal(grad, weights)


def test_stochastic_signs_have_the_mean_of_tanh():
    """100,000 draws; five standard deviations are a false-alarm rate of 6e-7 for each of the four bits."""
    h = np.array([-1.5, -0.2, 0.0, 2.0])
    draws = hashing.stochastic_sign(np.tile(h, (100_000, 1)), np.random.default_rng(1).random((100_000, 4)))
    np.testing.assert_allclose(draws.mean(axis=0), np.tanh(h / 2), atol=5 / np.sqrt(100_000))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_half_signs_are_balanced_also_with_ties(n):
    h = np.random.default_rng(n).integers(0, 3, (n, 5)).astype(float)
    np.testing.assert_array_equal((hashing.half_sign(h) == 1).sum(axis=0), n // 2)
    np.testing.assert_array_equal(hashing.half_sign(np.zeros((n, 1))).ravel(), np.where(np.arange(n) < n // 2, 1, -1))


@pytest.mark.parametrize("n_bits", [1, 8, 13])
def test_similarity_is_one_minus_the_share_of_differing_bits(n_bits):
    a, b = (np.where(RNG.random((n, n_bits)) < 0.5, -1.0, 1.0) for n in (5, 7))
    distances = hn.hamming_distances(hn.Codes.from_signs(a), hn.Codes.from_signs(b))
    np.testing.assert_allclose(hashing.hamming_similarity(a, b), 1 - distances / n_bits, atol=1e-15)


@pytest.mark.parametrize("own_first", [True, False])
def test_nsh_is_its_parts_put_together(own_first):
    b1, b2 = np.where(H >= 0, 1.0, -1.0), np.where(G >= 0, 1.0, -1.0)
    scores = hashing.hamming_similarity(b1, b2) + (np.eye(6) if own_first else 0)
    contrast = losses.sorted_nce(Y, Z, scores, m=3, temperature=0.3, sort_temperature=0.2)
    gaps = ((np.abs(H) - 1) ** 2).mean() + ((np.abs(G) - 1) ** 2).mean()
    found = hashing.nsh(H, Z, G, Y, m=3, temperature=0.3, sort_temperature=0.2, quantization=0.4, own_first=own_first)
    assert found == pytest.approx(contrast + 0.4 * gaps / 2, rel=1e-12)


def test_equal_codes_keep_their_own_partner():
    """With one code for all, lists by distance begin with row 0; the loss then pulls everything to it."""
    h = np.ones((6, 4))
    own = hashing.nsh(h, Z, h, Z, m=1, hard=True, quantization=0)
    tied = hashing.nsh(h, Z, h, Z, m=1, hard=True, quantization=0, own_first=False)
    assert own == pytest.approx(losses.info_nce(Z, Z, temperature=0.4), rel=1e-12)
    assert tied == pytest.approx(
        losses.sorted_nce(Z, Z, np.eye(6)[[0] * 6], m=1, temperature=0.4, hard=True), rel=1e-12
    )


def test_cibhash_is_nt_xent_of_sampled_codes_and_the_divergence_of_their_bits():
    b1, b2 = hashing.stochastic_sign(H, U[0]), hashing.stochastic_sign(G, U[1])
    p, q = 1 / (1 + np.exp(-H)), 1 / (1 + np.exp(-G))
    kl = (
        p * np.log(p / q)
        + (1 - p) * np.log((1 - p) / (1 - q))
        + q * np.log(q / p)
        + (1 - q) * np.log((1 - q) / (1 - p))
    )
    expected = losses.nt_xent(b1, b2, temperature=0.3) + 0.1 * kl.sum(axis=1).mean() / 2
    assert hashing.cibhash(H, G, U, bottleneck=0.1) == pytest.approx(expected, rel=1e-12)


def test_frameworks_agree_and_compile(framework):
    """Signs have no finite differences, so PyTorch is the yardstick; smooth parts are checked by themselves."""

    def nsh(h, z, g, y):
        return hashing.nsh(h, z, g, y, m=2, sort_temperature=0.3)

    def cibhash(h, g, u):
        return hashing.cibhash(h, g, u, bottleneck=0.1)

    for function, inputs in ((nsh, (H, Z, G, Y)), (cibhash, (H, G, U))):
        value, grads = gradients.Torch()(function, *inputs)
        other, others = framework(function, *inputs)
        np.testing.assert_allclose(value, function(*inputs), rtol=1e-12)
        np.testing.assert_allclose(other, value, rtol=1e-12)
        for grad, found in zip(grads, others, strict=True):
            np.testing.assert_allclose(found, grad, rtol=1e-9, atol=1e-12)
        assert np.abs(grads[0]).max() > 0  # the soft sort carries a gradient to the codes
    gradients.check(framework, lambda h: hashing.quantization(h) + hashing.bit_balance(h), H)
    compiled = framework.compiled(lambda h, z, g, y: [nsh(h, z, g, y), hashing.half_sign(h)], H, Z, G, Y)
    np.testing.assert_allclose(compiled[0], nsh(H, Z, G, Y), rtol=1e-12)
    np.testing.assert_array_equal(compiled[1], hashing.half_sign(H))


def test_no_matrix_of_all_lists_is_ever_built():
    """Forward and backward of n = 256, m = 4 keep far less than the n^3 numbers of the whole soft permutation."""
    torch = gradients.Torch().torch
    n, held = 256, []
    inputs = [torch.randn(n, k, requires_grad=True) for k in (16, 8, 16, 8)]

    def pack(x):
        held.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        hashing.nsh(*inputs, m=4).backward()
    assert max(held) <= n * n * 4
    assert sum(held) < n**3


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="must share n_bits"):
        hashing.hamming_similarity(H, Z)
    with pytest.raises(ValueError, match="uniform must have the shape of activations"):
        hashing.stochastic_sign(H, U[0, :, :2])
    with pytest.raises(ValueError, match=r"activations must have shape \(n, n_bits\)"):
        hashing.half_sign(H[0])
    with pytest.raises(ValueError, match="quantization must be at least 0"):
        hashing.nsh(H, Z, G, Y, quantization=-1)
