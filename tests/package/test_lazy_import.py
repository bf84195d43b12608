"""``import hashneg`` costs NumPy and nothing else; a framework is loaded only by whoever uses it."""

import pytest
from helpers.processes import run_python
from helpers.requirements import need

HEAVY = [
    "numba", "llvmlite", "scipy", "torch", "jax", "tensorflow", "safetensors", "tqdm", "array_api_compat",
    "typer", "rich", "pyarrow", "sklearn", "matplotlib", "ml_dtypes", "cupy",
]  # fmt: skip


def heavy_after(statements: str) -> set[str]:
    """The heavy modules that a fresh process holds after `statements`."""
    program = f"{statements}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(run_python(program).stdout.split())


def test_import_loads_nothing_heavy():
    assert heavy_after("import hashneg") == set()


def test_import_loads_nothing_at_all_beyond_numpy():
    program = "import numpy, sys; before = set(sys.modules)\nimport hashneg\nprint(*sorted(set(sys.modules) - before))"
    assert run_python(program).stdout.split() == ["hashneg"]


def test_import_loads_numpy():
    assert run_python("import hashneg, sys; print('numpy' in sys.modules)").stdout == "True\n"


@pytest.mark.parametrize("module", ["numba", "scipy", "tqdm", "safetensors", "array_api_compat"])
def test_the_check_fails_when_it_should(module):
    need(module)
    assert module in heavy_after(f"import hashneg, {module}")


def test_the_check_sees_what_a_backend_loads():
    need("numba")
    assert "numba" in heavy_after("import hashneg; hashneg.backends()")


def test_looking_at_names_loads_nothing():
    assert heavy_after("import hashneg; dir(hashneg); hashneg.__all__; hashneg.__version__") == set()


def test_work_on_numpy_loads_no_framework():
    statements = """
import numpy as np, hashneg as hn
x = np.random.default_rng(0).standard_normal((50, 16), dtype=np.float32)
codes = hn.BinaryQuantizer(32).fit_encode(x)
hn.hamming_topk(codes, codes, 3)
hn.mine_hard_negatives(x, k=2, quantizer=32)
"""
    assert heavy_after(statements) <= {"numba", "llvmlite", "scipy"}  # scipy, since numba loads it for its BLAS


def test_the_reference_backend_needs_numpy_only():
    statements = """
import os
os.environ["HASHNEG_BACKEND"] = "reference"
import numpy as np, hashneg as hn
x = np.random.default_rng(0).standard_normal((50, 16), dtype=np.float32)
codes = hn.BinaryQuantizer(32).fit_encode(x)
hn.hamming_topk(codes, codes, 3)
hn.mine_hard_negatives(x, k=2, quantizer=32)
"""
    assert heavy_after(statements) == set()
