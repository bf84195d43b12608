"""The table of backends: which exist, which is chosen, and what happens when one is missing."""

import inspect
import re

import numpy as np
import pytest
from helpers.processes import run_python
from helpers.requirements import need

import hashneg as hn
from hashneg import backends

CODES = np.arange(12, dtype=np.uint8).reshape(6, 2)


def test_hn_backends_is_a_call_and_a_package():
    rows = hn.backends()
    assert {row.name for row in rows} == {"reference", "cpu", "numba_cuda", "cupy"}
    assert all(row.available == (row.why == "") for row in rows)
    assert next(row for row in rows if row.name == "reference").available
    assert hn.backends is backends


def test_every_operation_has_the_same_parameters_on_every_backend():
    need("numba")
    operations = {operation for operation, _ in backends.TABLE}
    names = {backend for _, backend in backends.TABLE}
    for operation in operations:
        functions = [backends.implementation(operation, name) for name in names if (operation, name) in backends.TABLE]
        parameters = [list(inspect.signature(getattr(f, "py_func", f)).parameters) for f in functions]
        assert all(own == parameters[0] for own in parameters), operation


def test_the_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("HASHNEG_BACKEND", "cpu")
    assert backends.choose_backend("reference") == "reference"


def test_the_environment_forces_a_backend(monkeypatch):
    monkeypatch.setenv("HASHNEG_BACKEND", "reference")
    assert backends.choose_backend() == "reference"
    for value in ("", "auto"):
        monkeypatch.setenv("HASHNEG_BACKEND", value)
        assert backends.choose_backend() == next(row.name for row in hn.backends() if row.available)


def test_unknown_backends_raise(monkeypatch):
    with pytest.raises(ValueError, match=r"backend must be one of \['auto', 'cpu', 'reference', .*\], got 'gpu'"):
        hn.hamming_topk(CODES, CODES, 1, backend="gpu")
    with pytest.raises(TypeError, match="backend must be one of"):
        hn.hamming_topk(CODES, CODES, 1, backend=3)
    monkeypatch.setenv("HASHNEG_BACKEND", "gpu")
    with pytest.raises(ValueError, match=r"HASHNEG_BACKEND must be one of .*got 'gpu'"):
        hn.hamming_topk(CODES, CODES, 1)


@pytest.mark.parametrize("name", [row.name for row in hn.backends() if not row.available])
def test_a_backend_that_cannot_run_here_says_why(monkeypatch, name):
    why = next(row.why for row in hn.backends() if row.name == name)
    with pytest.raises(RuntimeError, match=re.escape(f"{why}; see hashneg.backends")):
        hn.hamming_topk(CODES, CODES, 1, backend=name)
    monkeypatch.setenv("HASHNEG_BACKEND", name)
    with pytest.raises(RuntimeError, match=f"HASHNEG_BACKEND='{name}'"):
        hn.hamming_topk(CODES, CODES, 1)


USE_IT = """
import numpy as np, hashneg as hn
codes = np.arange(12, dtype=np.uint8).reshape(6, 2)
x = np.random.default_rng(0).standard_normal((40, 8), dtype=np.float32)
for _ in range(3):
    found = hn.hamming_topk(codes, codes, 2)
    hn.BinaryQuantizer(16).fit_encode(x)
print(found.indices.tolist())
"""
ABSENT = "import sys\nsys.modules['numba'] = None\n"
BROKEN = """
import importlib.abc, sys

class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "numba":
            raise ImportError("Numba needs NumPy 2.0 or less")

sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (ABSENT, "numba is not installed (pip install numba)"),
        (BROKEN, "cannot be imported: Numba needs NumPy 2.0 or less"),
    ],
    ids=["absent", "broken"],
)
class TestWithoutNumba:
    def test_the_reference_is_used_and_the_reason_is_logged_once(self, without, reason):
        done = run_python(without + USE_IT)
        expected = hn.hamming_topk(CODES, CODES, 2, backend="reference").indices.tolist()
        assert done.stdout == f"{expected}\n"
        assert done.stderr.count("falling back") == 1
        assert reason in done.stderr

    def test_asking_for_cpu_raises(self, without, reason):
        for program, origin in (
            (USE_IT.replace("codes, 2)", "codes, 2, backend='cpu')"), "backend='cpu'"),
            ("import os\nos.environ['HASHNEG_BACKEND'] = 'cpu'\n" + USE_IT, "HASHNEG_BACKEND='cpu'"),
        ):
            done = run_python(without + program, check=False)
            assert done.returncode == 1
            assert f"RuntimeError: {origin} needs numba" in done.stderr
            assert reason in done.stderr
            assert "falling back" not in done.stderr

    def test_the_list_says_why(self, without, reason):
        done = run_python(without + "import hashneg as hn\nprint(*hn.backends(), sep='\\n')")
        assert "name='cpu', available=False" in done.stdout
        assert reason in done.stdout
        assert "name='reference', available=True, why=''" in done.stdout

    def test_asking_for_the_reference_logs_nothing(self, without, reason):
        done = run_python(without + USE_IT, HASHNEG_BACKEND="reference")
        assert done.stderr == ""
