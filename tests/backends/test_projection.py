"""The kernels of the cpu backend, for widths and counts at which their tiles and transforms change shape."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from helpers.processes import run_python
from helpers.projections import check_kernels
from helpers.requirements import missing, need

COUNTS = [0, 1, 11, 12, 13, 193]  # of rows: a tile of the product holds 6 or 12, a task 192


@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestShapes:
    @pytest.mark.parametrize("dim", [1, 2, 3, 7, 9, 16, 17, 33, 100, 129, 256, 500, 1000, 1025, 2049, 5000])
    def test_hadamard(self, dim, dtype):
        need("numba")
        for n_bits in {1, dim // 2 + 1, dim, dim + 13}:
            check_kernels("hadamard", n_bits, dim, 5, dtype)

    @pytest.mark.parametrize("dim", [1, 127, 128, 129, 300])
    @pytest.mark.parametrize("n_bits", [1, 8, 31, 33, 100])
    def test_dense(self, dim, n_bits, dtype):
        need("numba")
        for n in COUNTS:
            check_kernels("dense", n_bits, dim, n, dtype)

    @pytest.mark.parametrize("n_bits", [1, 7, 8, 16, 17, 31, 100])
    def test_identity(self, n_bits, dtype):
        need("numba")
        for n in COUNTS:
            check_kernels("identity", n_bits, n_bits, n, dtype)


_NARROW = """
from helpers.projections import check_kernels
check_kernels("dense", 91, 130, 13, "float64")
check_kernels("hadamard", 600, 1000, 5, "float32")
"""


def test_processors_with_narrower_vectors():
    """A vector of four float64 wrote its four bits into a byte of their own."""
    need("numba")
    if platform.machine() not in ("x86_64", "AMD64"):
        missing("only x86 processors have narrower predecessors", excused=True)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run_python(_NARROW, NUMBA_CPU_NAME="haswell", PYTHONPATH=path)
