"""Every kernel of numba_cuda compiles for every architecture, without a GPU or a driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from helpers.requirements import missing

PROGRAM = Path(__file__).with_name("ptx_of_kernels.py")
ARCHITECTURES = ["75", "90", "120"]
if os.environ.get("HASHNEG_CI") == "1":
    ARCHITECTURES = ["75", "80", "86", "89", "90", "100", "120"]
#: Sums over float32 embeddings that are taken in float64 on purpose.
IN_FLOAT64 = {"add_rows", "score_pairs"}


def compile_all(*arguments: str) -> subprocess.CompletedProcess:
    for module, package in (("numba_cuda", "numba-cuda"), ("nvidia", "nvidia-nvvm and nvidia-cuda-nvrtc")):
        if find_spec(module) is None:
            missing(f"{package} is not installed", excused=sys.platform == "darwin")
    path = os.pathsep.join([str(PROGRAM.parents[2]), str(PROGRAM.parents[3])])
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], env=environment | {"PYTHONPATH": path}, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip


def faults_in(ptx: dict[str, dict[str, dict[str, str]]], architectures: list[str]) -> list[str]:
    """What is wrong with the PTX of the kernels."""
    wrong = []
    for kernel, by_architecture in ptx.items():
        if sorted(by_architecture) != sorted(architectures):
            wrong.append(f"{kernel} was compiled for {sorted(by_architecture)}")
        for name, by_dtype in by_architecture.items():
            for dtype, text in by_dtype.items():
                if not re.search(rf"^\.target sm_{name}\b", text, re.M) or f"{kernel}" not in text:
                    wrong.append(f"{kernel} for sm_{name} has another target")
                if ".f64" in text and dtype == "float32" and kernel not in IN_FLOAT64:
                    wrong.append(f"{kernel} for sm_{name} computes in float64, slow on most devices")
    return wrong


def test_every_kernel_compiles_for_every_architecture():
    """From the argument types of real calls; integers and float32 numbers nowhere become float64 unnoticed."""
    done = compile_all(",".join(ARCHITECTURES))
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert sorted(found["ptx"]) == found["kernels"], "a kernel was never launched"
    assert len(found["kernels"]) > 10
    assert faults_in(found["ptx"], ARCHITECTURES) == []


def test_a_number_that_became_a_float64_is_caught():
    """A float32 or the integer 0 is a float64 in Numba; in the simulator it is not."""
    sound = "z[row, first + i] = 0\n        if i < rows.shape[1]:\n            z[row, first + i] = rows[row, i]\n"
    done = compile_all("90", "projection", sound, "z[row, first + i] = rows[row, i] if i < rows.shape[1] else 0\n")
    assert done.returncode == 0, done.stderr[-4000:]
    wrong = faults_in(json.loads(done.stdout)["ptx"], ["90"])
    assert wrong == ["transform for sm_90 computes in float64, slow on most devices"]


def test_what_the_simulator_takes_and_a_device_does_not_is_caught():
    done = compile_all(
        "90", "projection", "sums[column] += rows[row, column]", "sums[column] += sum(rows[row].tolist())"
    )
    assert done.returncode != 0
    assert "TypingError" in done.stderr or "Unknown attribute" in done.stderr
