"""Peak memory of ``hashneg mine``.

    python -m benchmarks.memory                  1 M x 128 float16, 256 bits, k = 16, against itself
    python -m benchmarks.memory --large          a slice of 10 M x 768 float16, 512 bits; 15 GB of disk

The command runs in a child process. Anonymous memory (``RssAnon`` in /proc/PID/status) is what it allocated;
``RssFile`` are pages of the memory-mapped input, which the system takes back when it needs them. The interpreter's own
share is measured in another child, which imports the same packages and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

_SECONDS_BETWEEN_SAMPLES = 0.005
_BLOCK = 1 << 16
_CENTERS = 4096
_IDLE = "import numpy, hashneg, hashneg.cli.app; print('ready', flush=True); input()"


class Sampler(threading.Thread):
    """Reads the memory of a process until it ends, and keeps the highest values."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.peak = {"RssAnon": 0, "RssFile": 0}
        self.samples = 0

    def run(self) -> None:
        while self.sample():
            time.sleep(_SECONDS_BETWEEN_SAMPLES)

    def sample(self) -> bool:
        try:
            text = self._status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        for name, before in self.peak.items():
            found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
            if found is None:  # a process that has ended but was not waited for has no memory
                return False
            self.peak[name] = max(before, 1024 * int(found[1]))
        self.samples += 1
        return True


def make_data(path: Path, n: int, dim: int, seed: int) -> None:
    """Write n rows around random centers, a block at a time: neighbours exist, as in real embeddings."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((_CENTERS, dim), dtype=np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, _BLOCK):
            rows = min(_BLOCK, n - start)
            block = rng.standard_normal((rows, dim), dtype=np.float32)
            block += centers[rng.integers(0, _CENTERS, rows)]
            block.astype(np.float16).tofile(file)


def idle_memory() -> int:
    """Anonymous memory of an interpreter that imported the package."""
    child = subprocess.Popen(
        [sys.executable, "-c", _IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    child.stdout.readline()
    sampler = Sampler(child.pid)
    sampler.sample()
    child.communicate("\n")
    return sampler.peak["RssAnon"]


def mine(path: Path, out: Path, bits: int, k: int, rows: str | None, threads: int) -> tuple[Sampler, float, dict]:
    """Run the command line; the sampler, seconds of wall time, and the report."""
    report = out.with_suffix(".json")
    command = [
        sys.executable, "-c", "import sys; from hashneg.cli import main; sys.exit(main())", "mine", str(path),
        "--bits", str(bits), "-k", str(k), "--threads", str(threads), "--report", str(report), "-o", str(out),
    ]  # fmt: skip
    if rows is not None:
        command += ["--rows", rows]
    begun = time.perf_counter()
    child = subprocess.Popen(command)
    sampler = Sampler(child.pid)
    sampler.start()
    code = child.wait()
    seconds = time.perf_counter() - begun
    sampler.join()
    if code:
        raise SystemExit(f"hashneg mine ended with exit code {code}")
    return sampler, seconds, json.loads(report.read_text())["report"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="a slice of 10 M x 768, 512 bits")
    parser.add_argument("--n", type=int, help="rows (1,000,000, or 10,000,000 with --large)")
    parser.add_argument("--dim", type=int, help="dimensions (128, or 768)")
    parser.add_argument("--bits", type=int, help="bits of a code (256, or 512)")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--rows", type=int, help="anchors to mine (all, or 8,192 with --large)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-mb", type=float, default=600.0, help="fail if more is used above the interpreter")
    parser.add_argument("--folder", type=Path, help="where the data is made; a temporary folder by default")
    options = parser.parse_args()
    n, dim, bits, rows = (10_000_000, 768, 512, 8192) if options.large else (1_000_000, 128, 256, None)
    n, dim, bits = options.n or n, options.dim or dim, options.bits or bits
    rows = min(options.rows or rows or n, n)

    idle = idle_memory()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "embeddings.npy"
        make_data(path, n, dim, options.seed)
        size = path.stat().st_size
        given = None if rows == n else f"0:{rows}"
        sampler, seconds, report = mine(path, Path(folder) / "out.npz", bits, options.k, given, options.threads)
    steps = report["seconds"]
    above = sampler.peak["RssAnon"] - idle
    per_anchor = sum(steps.get(name, 0.0) for name in ("search", "rerank", "filter")) / rows
    table = [
        ("data", f"{n:,} x {dim} float16, {size / 1e6:,.0f} MB on disk"),
        ("job", f"{bits} bits, k={options.k}, {rows:,} anchors, {options.threads} threads"),
        ("interpreter", f"{idle / 1e6:,.0f} MB anonymous"),
        ("peak above it", f"{above / 1e6:,.0f} MB anonymous ({sampler.samples:,} samples)"),
        ("mapped from files", f"{sampler.peak['RssFile'] / 1e6:,.0f} MB at most, reclaimable"),
        ("codes alone", f"{n * bits / 8 / 1e6:,.0f} MB"),
        ("wall time", f"{seconds:,.1f} s"),
        *((f"  {name}", f"{value:,.1f} s") for name, value in steps.items()),
    ]
    if rows < n:
        whole = seconds + per_anchor * (n - rows)
        table.append(("all anchors", f"{whole / 3600:,.1f} h, extrapolated from {1e3 * per_anchor:.2f} ms an anchor"))
    for what, value in table:
        print(f"{what:<20}{value}")
    if not options.large and above > options.limit_mb * 1e6:
        raise SystemExit(f"over the limit of {options.limit_mb:.0f} MB")


if __name__ == "__main__":
    main()
