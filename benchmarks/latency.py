"""What a fresh process waits for: the import of hashneg, and the first top-k with a cold and a warm kernel cache.

Run with ``python -m benchmarks.latency``. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORT = """
import time
begun = time.perf_counter()
import numpy
between = time.perf_counter()
import hashneg
print(time.perf_counter() - between, between - begun)
"""
FIRST_TOPK = """
import sys, time
import numpy as np
import hashneg as hn
codes = np.random.default_rng(0).integers(0, 256, (10_000, 64), dtype=np.uint8)
begun = time.perf_counter()
hn.hamming_topk(codes[:1000], codes, 16)
first = time.perf_counter() - begun
begun = time.perf_counter()
hn.hamming_topk(codes[:1000], codes, 16)
print(first, time.perf_counter() - begun)
"""
TARGETS = {"import": 0.1, "cold": 15.0, "warm": 1.0}  # seconds


def measure(code: str, cache: str | None = None) -> list[float]:
    """Run the code in a fresh interpreter and return the seconds it prints."""
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the measured process failed:\n{done.stderr}")
    return [float(text) for text in done.stdout.split()]


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="processes to take the median of (cold: one)")
    repeat = parser.parse_args().repeat

    from hashneg.backends import choose_backend

    imports = [measure(IMPORT) for _ in range(repeat + 1)][1:]  # the first one fills the file cache
    with tempfile.TemporaryDirectory() as cache:
        cold = measure(FIRST_TOPK, cache)
        warm = [measure(FIRST_TOPK, cache) for _ in range(repeat)]
    medians = [statistics.median(column) for column in zip(*imports, strict=True)]
    waits = [statistics.median(column) for column in zip(*warm, strict=True)]
    rows = [
        ("import numpy", medians[1], None),
        ("import hashneg, above numpy", medians[0], TARGETS["import"]),
        ("first top-k, cold kernel cache", cold[0], TARGETS["cold"]),
        ("first top-k, warm kernel cache", waits[0], TARGETS["warm"]),
        ("the same top-k again", waits[1], None),
    ]
    from importlib.metadata import version

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "hashneg"))
    print(f"{processor()}, {cores} cores, {platform.system()}; Python {platform.python_version()}, {versions}")
    print(f"fresh processes, the median of {repeat} (cold: one); backend {choose_backend()}")
    print("top-k: 1,000 queries, 10,000 codes of 512 bits, k = 16\n")
    print(f"{'':<32}{'seconds':>9}{'target':>9}")
    for what, seconds, target in rows:
        verdict = "" if target is None else f"{f'< {target:g}':>9}  {'met' if seconds < target else 'MISSED'}"
        print(f"{what:<32}{seconds:>9.3f}{verdict}")
    return int(any(target is not None and seconds >= target for _, seconds, target in rows))


if __name__ == "__main__":
    sys.exit(main())
