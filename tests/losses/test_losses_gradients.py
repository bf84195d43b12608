"""Losses have one value and one gradient in every framework, compile, and stay finite at a temperature of 0.01."""

from functools import partial

import numpy as np
import pytest
from helpers import gradients

from hashneg import losses
from hashneg.namespaces import constant

RNG = np.random.default_rng(0)
A, P = RNG.standard_normal((2, 5, 4))
SHARED, OWN = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3, 4))
W = RNG.random((5, 8))
SCORES = RNG.standard_normal((5, 5))
T = np.array(0.3)
CASES = {
    "info_nce-learnable": (lambda a, p, n, t: losses.info_nce(a, p, n, temperature=t), A, P, SHARED, T),
    "info_nce-all": (
        lambda a, p, n, w: losses.info_nce(a, p, n, weights=w, temperature=0.3, symmetric=True, label_smoothing=0.1),
        A, P, OWN, W,
    ),
    "hcl": (partial(losses.hcl, temperature=0.3, tau_plus=0.02), A, P, OWN),
    "sorted_nce": (partial(losses.sorted_nce, m=2, sort_temperature=0.5), A, P, SCORES),
    # positives and negatives are constants to groco, so only the anchors are differentiated
    "groco": (lambda a: losses.groco(a, constant(P, a, a.dtype), constant(OWN, a, a.dtype), n_negatives=3), A),
}  # fmt: skip


@pytest.fixture(params=gradients.ALL)
def framework(request):
    return request.param()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_numpy(framework, name):
    gradients.check(framework, *CASES[name])


def test_all_losses_compile(framework):
    def everything(a, p, own, scores, u):
        return [
            losses.info_nce(a, p, own, symmetric=True, label_smoothing=0.1),
            losses.hcl(a, p, own),
            losses.sorted_nce(a, p, scores),
            losses.groco(a, p, n_negatives=2),
            losses.mochi(a, own, n_pairs=1, n_with_anchor=1, uniform=u),
        ]

    inputs = (A, P, OWN, SCORES, RNG.random((5, 2, 3)))
    for found, expected in zip(framework.compiled(everything, *inputs), everything(*inputs), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_tensorflow_functions_may_leave_the_batch_open():
    tf = gradients.TensorFlow().tf

    def loss(a, p, own):
        scores = tf.linalg.matmul(a, p, transpose_b=True)
        return [
            losses.info_nce(a, p, own, symmetric=True),
            losses.hcl(a, p, own),
            losses.sorted_nce(a, p, scores),
            losses.groco(a, p, n_negatives=2),
        ]

    signature = [tf.TensorSpec([None, *x.shape[1:]], tf.float64) for x in (A, P, OWN)]
    traced = tf.function(loss, input_signature=signature, autograph=False)
    for n in (5, 4):
        inputs = [tf.constant(x[:n]) for x in (A, P, OWN)]
        for found, expected in zip(traced(*inputs), loss(*inputs), strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("loss", [losses.info_nce, losses.hcl])
def test_cold_losses_are_right_in_small_floats(framework, loss, dtype):
    """Duplicates, opposites and zeros, so that logits reach 100 and -100: as float64 on the same numbers."""
    a = np.concatenate([A, A[:1], -A[1:2], np.zeros((1, 4))])
    p = np.concatenate([P, A[:1], A[1:2], P[:1]])
    inputs = [np.round(8 * x) / 8 for x in (a, p, SHARED)]  # numbers that bfloat16 holds
    cold = partial(loss, temperature=0.01)
    exact, exact_grads = framework(cold, *inputs)
    found, grads = framework(cold, *inputs, dtype=dtype)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    largest = max(np.abs(grad).max() for grad in exact_grads)
    for grad, expected in zip(grads, exact_grads, strict=True):
        np.testing.assert_allclose(grad, expected, rtol=0.01, atol=1e-4 * largest)
