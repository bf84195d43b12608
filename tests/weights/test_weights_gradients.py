"""Weights have one value and one gradient in every framework, and compile."""

from functools import partial

import numpy as np
import pytest
from helpers import gradients

from hashneg import weights

RNG = np.random.default_rng(0)
A, P = RNG.standard_normal((2, 4, 3))
OWN = RNG.standard_normal((4, 2, 3))
S = RNG.uniform(-1, 1, (2, 6))
CASES = {
    "hcl": (lambda s, p: weights.hcl(s, positive=p, tau_plus=0.1), S, S[:, 0]),
    "soft_info_nce": (partial(weights.soft_info_nce, alpha=0.5), S),
    "unremix": (partial(weights.unremix, detach=False, temperature=0.5), A, P, OWN),
}


@pytest.fixture(params=gradients.ALL)
def framework(request):
    return request.param()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_numpy(framework, name):
    gradients.check(framework, *CASES[name])


def test_detached_weights_are_constants():
    _, grads = gradients.Torch()(lambda a, p: weights.unremix(a, p) + 0 * a.sum() + 0 * p.sum(), A, P)
    assert all((grad == 0).all() for grad in grads)


def test_all_weights_compile(framework):
    def everything(a, p, own):
        s = a[:, :2]
        return [
            weights.unremix(a, p, own),
            weights.hcl(s, positive=a[:, 2], tau_plus=0.1),
            weights.soft_info_nce(s, alpha=0.5),
            weights.positive_aware(s, a[:, 2], relative_margin=0.05),
            weights.representativeness(own),
            weights.probabilities(s * s),
        ]

    for found, expected in zip(framework.compiled(everything, A, P, OWN), everything(A, P, OWN), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
