"""Why numba_cuda cannot run, in the words that `hashneg.backends()` and the errors give."""

from __future__ import annotations

import pytest
from helpers.requirements import need

need("numba")

from hashneg.backends.numba_cuda import device  # noqa: E402


class NoDriver:
    def __len__(self) -> int:
        raise RuntimeError("Error at driver init:\n\nCUDA driver library cannot be found.\n")


@pytest.mark.parametrize(
    ("package", "devices", "why"),
    [
        (None, [0], "needs the package numba-cuda (pip install hashneg[cuda12] or hashneg[cuda13])"),
        ("found", NoDriver(), "needs a CUDA driver: Error at driver init: CUDA driver library cannot be found."),
        ("found", [], "needs a CUDA device: there is a driver, but it shows no device"),
        ("found", [0], ""),
    ],
    ids=["no package", "no driver", "no device", "all there"],
)
def test_what_is_missing_is_named(monkeypatch, package, devices, why):
    monkeypatch.setattr(device, "SIMULATED", False)
    monkeypatch.setattr(device, "find_spec", lambda name: package)
    monkeypatch.setattr(device.cuda, "gpus", devices)
    assert device.why_missing() == why


def test_the_simulator_needs_nothing(monkeypatch):
    monkeypatch.setattr(device, "SIMULATED", True)
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert device.why_missing() == ""
