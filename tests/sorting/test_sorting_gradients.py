"""Soft sorts have one value and one gradient in every framework, and compile."""

from functools import partial

import numpy as np
import pytest
from helpers import gradients

from hashneg import sorting

SCORES = np.random.default_rng(0).standard_normal((2, 6))
CASES = {
    "softsort": partial(sorting.softsort, temperature=0.4),
    "softsort-squared-m": partial(sorting.softsort, temperature=0.4, power=2, m=3),
    "neuralsort": partial(sorting.neuralsort, temperature=0.9, m=4),
    "odd_even-cauchy": partial(sorting.sorting_network, temperature=0.3),
    "bitonic-optimal": partial(sorting.sorting_network, temperature=0.3, network="bitonic", relaxation="optimal", m=2),
}


@pytest.fixture(params=gradients.ALL)
def framework(request):
    return request.param()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_numpy(framework, name):
    gradients.check(framework, CASES[name], SCORES)


def test_hard_sorts_have_the_gradient_of_the_soft_ones():
    """The rule is one function for all sorts and frameworks."""
    torch = gradients.Torch()
    hard, grads = torch(partial(sorting.softsort, temperature=0.4, hard=True), SCORES)
    _, soft = torch(partial(sorting.softsort, temperature=0.4), SCORES)
    assert set(np.unique(hard)) == {0.0, 1.0}
    np.testing.assert_array_equal(grads[0], soft[0])
    assert np.abs(soft[0]).max() > 0


def test_all_sorts_compile(framework):
    def everything(scores):
        return [
            sorting.softsort(scores, 0.4, m=2, hard=True),
            sorting.neuralsort(scores, 0.9),
            sorting.sorting_network(scores, 0.3),
            sorting.sorted_gather(sorting.softsort(scores, 0.4), scores[0][:, None]),
        ]

    few = SCORES[:, :4]  # compilers take their time over every operation
    for found, expected in zip(framework.compiled(everything, few), everything(few), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_temperature_can_be_learned(framework):
    gradients.check(framework, sorting.softsort, SCORES, np.array(0.4))
