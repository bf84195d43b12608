"""The kernels of numba_cuda in Numba's CUDA simulator, which takes a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.requirements import need

FOLDER = Path(__file__).with_name("simulated")


@pytest.mark.parametrize("checks", ["search", "arithmetic"])
def test_simulated_kernels(checks):
    """What `simulated/check_*.py` states; its failures are shown here."""
    need("numba")
    command = [
        sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-o", "python_files=check_*.py",
        str(FOLDER / f"check_{checks}.py"),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, env=environment | {"NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
