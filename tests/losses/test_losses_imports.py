"""Losses, weights, sorts and learned codes import no framework by themselves, and only that of their arrays."""

import pytest
from helpers.processes import run_python
from helpers.requirements import need

USE = """
import sys
{prepare}
import hashneg as hn
x = make([[1.0, 0.5], [0.2, -1.0], [0.3, 0.4]])
hn.losses.info_nce(x, x, weights=hn.weights.unremix(x, x))
hn.sorting.softsort(x)
hn.hashing.nsh(x, x, x, x)
print(*[name for name in ("torch", "jax", "tensorflow") if name in sys.modules])
"""


def test_numpy_arrays_load_no_framework():
    assert run_python(USE.format(prepare="from numpy import asarray as make")).stdout.split() == []


def test_torch_tensors_load_torch_alone():
    need("torch")
    assert run_python(USE.format(prepare="from torch import tensor as make")).stdout.split() == ["torch"]


@pytest.mark.parametrize("module", ["losses", "weights", "sorting", "hashing"])
def test_all_lists_what_there_is(module):
    import hashneg as hn

    namespace = getattr(hn, module)
    assert all(getattr(namespace, name).__doc__ or name == "STRATEGIES" for name in namespace.__all__)
