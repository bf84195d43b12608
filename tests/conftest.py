"""Fixtures of all tests: the matrix of backends and the matrix of array frameworks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when jax is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported; xdist's workers fill the cores
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
for variable in ("HASHNEG_BACKEND", "HASHNEG_CHECK", "HASHNEG_NUM_THREADS"):
    os.environ.pop(variable, None)  # tests set what they are about, and start from the defaults

import pytest  # noqa: E402
from helpers import frameworks  # noqa: E402
from helpers.requirements import missing  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "hashneg",
    derandomize=True,
    deadline=None,
    max_examples=40,
    print_blob=True,
    # The fixtures `backend` and `framework` only name a choice: one instance serves all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("hashneg")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests whose name says "tensorflow" to one worker, since importing TensorFlow takes seconds."""
    from xdist.scheduler import LoadScopeScheduling

    class OneTensorFlowWorker(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tensorflow" if "tensorflow" in nodeid else nodeid

    return OneTensorFlowWorker(config, log)


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backend; functions without a `backend` argument use it too."""
    if request.param == "cpu" and find_spec("numba") is None:
        missing("numba is not installed")
    monkeypatch.setenv("HASHNEG_BACKEND", request.param)
    return request.param


@pytest.fixture(params=frameworks.ALL)
def framework(request: pytest.FixtureRequest) -> Any:
    """An array framework: ``array(numpy_array)``, ``to_numpy(x)`` (which checks the type), ``owns(x)``, ``name``."""
    return request.param()
