"""Sanitizers find nothing in the kernels; and faults that are planted in them are found, by results or sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in
from helpers.requirements import missing

RUN = Path(__file__).with_name("alone.py")


def run(config: pytest.Config, how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(stand_in.COMPILER) is None:
        missing(f"there is no C++ compiler {stand_in.COMPILER!r}, which the emulation of CUDA needs")
    environment = dict(os.environ)
    if how == "sanitized":
        names = ("libasan.so", "libubsan.so")
        ask = [[stand_in.COMPILER, f"-print-file-name={name}"] for name in names]
        libraries = [subprocess.run(command, capture_output=True, text=True).stdout.strip() for command in ask]
        if not all(map(os.path.isabs, libraries)):
            missing(f"{stand_in.COMPILER} has no libasan and libubsan")
        environment |= {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, str(RUN), str(config.cache.mkdir("cuda-emulation")), how, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("device", ["tensor", "sliced"])
def test_sound(request, device):
    done = run(request.config, "sanitized", device)
    assert done.stdout.endswith("sound\n"), done.stderr[-3000:]


OUT_OF_BOUNDS = {
    "heap": ("rows.cu", "    if (row >= n) return;\n    int count", "    int count", "heap-buffer-overflow"),
    "shared": ("merge.cu", "if (threadIdx.x == 0) offsets[slices]", "offsets[MOST_SLICES + 1]", "out of bounds"),
}


@pytest.mark.parametrize(("file", "old", "new", "seen"), OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS)
def test_a_planted_access_out_of_bounds_is_seen(request, file, old, new, seen):
    done = run(request.config, "sanitized", "tensor", file, old, new)
    assert done.returncode
    assert seen in done.stderr, done.stderr[-3000:]


WRONG = {
    "barrier of a warp": ("merge.cu", "__syncwarp();  // every lane has read its bin", ""),
    "barrier of a block": ("merge.cu", "offsets[slices] = total;\n    __syncthreads();", "offsets[slices] = total;"),
    "tie": ("merge.cu", "place_among_ties < ties", "place_among_ties <= ties"),
    "parity": ("scan_mma.cu", "(row_ones & 1)", "0"),
}


@pytest.mark.parametrize(("file", "old", "new"), WRONG.values(), ids=WRONG)
def test_a_planted_fault_changes_results(request, file, old, new):
    done = run(request.config, "plain", "tensor", file, old, new)
    assert done.returncode
    assert "sound" not in done.stdout
    assert "Mismatched elements" in done.stderr or done.returncode < 0 or "RuntimeError" in done.stderr, done.stderr
