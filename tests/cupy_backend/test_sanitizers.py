"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, and faults planted to show what would be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in
from helpers.requirements import missing

RUN = Path(__file__).with_name("sanitized.py")


def run(config: pytest.Config, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(stand_in.COMPILER) is None:
        missing(f"there is no C++ compiler {stand_in.COMPILER!r}, which the emulation of CUDA needs")
    libraries = [
        subprocess.run([stand_in.COMPILER, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if not all(map(os.path.isabs, libraries)):
        missing(f"{stand_in.COMPILER} has no libasan and libubsan")
    environment = os.environ | {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, str(RUN), str(config.cache.mkdir("cuda-emulation")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("kind", ["tensor", "sliced"])
def test_no_access_out_of_bounds(request, kind):
    done = run(request.config, kind)
    assert done.stdout.endswith("sound\n"), done.stderr[-3000:]


FAULTS = {
    "heap": ("merge.cu", "bin[distance] = 0;", "bin[distance + 1] = 0;", "heap-buffer-overflow"),
    "rows": ("rows.cu", "    if (row >= n) return;\n    int count", "    int count", "heap-buffer-overflow"),
    "shared": ("merge.cu", "if (threadIdx.x == 0) offsets[slices]", "offsets[MOST_SLICES + 1]", "out of bounds"),
}


@pytest.mark.parametrize(("file", "old", "new", "seen"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(request, file, old, new, seen):
    done = run(request.config, "tensor", file, old, new)
    assert done.returncode
    assert seen in done.stderr, done.stderr[-3000:]
