"""The callback that JAX's search makes on a GPU, with (emulated) buffers of a device."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.requirements import need
from helpers.search_problems import brute_force_topk
from searches import assert_topk
from test_emulated_search import problem_of

need("jax")

from hashneg.adapters.jax import kernels  # noqa: E402
from hashneg.backends.request import Exclusions, Search  # noqa: E402


@pytest.mark.parametrize("kind", ["allow packed", "allow each", "labels"])
def test_the_buffers_of_a_device_are_searched_there(gpu, kind):
    problem = problem_of("clustered", 5, 300, 64, kind, "exclude")
    names = {"query_labels": "query_labels", "database_labels": "labels", "exclude": "hidden", "allow": "allow"}
    arrays = dict.fromkeys(["query_labels", "labels", "hidden", "allow"]) | {
        names[name]: gpu.cp.asarray(value) for name, value in problem.arguments.items()
    }
    arrays |= {
        name: gpu.cp.asarray(codes.data) for name, codes in zip(("queries", "database"), problem.codes, strict=True)
    }
    arrays["hidden"] = arrays["hidden"].astype(np.int32)
    arrays["hidden"][0, 0] = 300  # no row
    out = gpu.cp.empty((5, 9), np.int32), gpu.cp.empty((5, 9), np.int64)
    search = Search(64, 30, Exclusions())
    kernels._search(SimpleNamespace(stream=0), out, arrays, k=9, search=search, backend="auto")
    problem.allowed[0] |= problem.arguments["exclude"][0, 0] == np.arange(300)
    assert_topk(tuple(part.get() for part in out), brute_force_topk(problem, 9, 30))
