"""Peak memory of ``hashneg mine``.

100,000 rows of 1 M x 128 float16 (all of them with --full) against all, 256 bits, k = 16; with --large a slice of
10 M x 768 float16, 512 bits, which needs 15 GB of disk. The command runs in a child process. Anonymous memory
(``RssAnon`` in /proc/PID/status) is what it allocated; ``RssFile`` are pages of the memory-mapped input, which the
system takes back when it needs them. The interpreter's own share is measured in another child, which imports the same
packages and does nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data, report
from benchmarks.peak import Sampler
from benchmarks.setup import Setup, say

_IDLE = "import numpy, hashneg, hashneg.cli.app; print('ready', flush=True); input()"


def make_data(path: Path, n: int, dim: int, seed: int) -> None:
    """Write n rows of the set "nested-clusters", a block at a time."""
    with open(path, "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in data.nested_clusters(0, n, dim, seed):
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


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--large", action="store_true", help="a slice of 10 M x 768, 512 bits")
    parser.add_argument("--n", type=int, help="rows (1,000,000, or 10,000,000 with --large)")
    parser.add_argument("--dim", type=int, help="dimensions (128, or 768)")
    parser.add_argument("--bits", type=int, help="bits of a code (256, or 512)")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--rows", type=int, help="anchors to mine (100,000; all with --full)")
    parser.add_argument("--limit-mb", type=float, default=600.0, help="fail if more is used above the interpreter")
    parser.add_argument("--folder", type=Path, help="where the data is made; a temporary folder by default")


def run(setup: Setup, options: argparse.Namespace) -> report.Report:
    n, dim, bits = (10_000_000, 768, 512) if options.large else (1_000_000, 128, 256)
    n, dim, bits = options.n or setup.choose(tiny=3000, quick=n), options.dim or dim, options.bits or bits
    wanted = options.rows or (8192 if options.large else setup.choose(tiny=n, quick=20_000, default=100_000, full=n))
    rows = min(wanted, n)
    idle = idle_memory()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "embeddings.npy"
        say(f"memory: writing {n:,} x {dim}")
        make_data(path, n, dim, setup.seed)
        size = path.stat().st_size
        given = None if rows == n else f"0:{rows}"
        say("memory: hashneg mine")
        sampler, seconds, about = mine(path, Path(folder) / "out.npz", bits, options.k, given, setup.threads)
    steps = about["seconds"]
    above = sampler.peak["RssAnon"] - idle
    per_anchor = sum(steps.get(name, 0.0) for name in ("search", "rerank", "filter")) / rows
    megabytes = {
        "input on disk": size / 1e6,
        "codes alone": n * bits / 8e6,
        "interpreter, anonymous": idle / 1e6,
        "peak above it, anonymous": above / 1e6,
        "mapped from files at most, reclaimable": sampler.peak["RssFile"] / 1e6,
    }
    table = [["", "value"]]
    table += [[what, f"{value:,.0f} MB"] for what, value in megabytes.items()]
    table += [
        ["wall time", f"{seconds:,.1f} s"],
        *([f"of it {name}", f"{value:,.1f} s"] for name, value in steps.items()),
    ]
    if rows < n:
        whole = seconds + per_anchor * (n - rows)
        table.append(["all anchors", f"{whole / 60:,.1f} min, extrapolated from {1e3 * per_anchor:.2f} ms an anchor"])
    job = f"{n:,} x {dim} float16, {bits} bits, k = {options.k}, {rows:,} anchors, {setup.threads} threads"
    raw: list[dict[str, Any]] = [{"what": f"{what}, MB", "value": value} for what, value in megabytes.items()]
    raw += [{"what": f"{name}, s", "value": value} for name, value in {"wall time": seconds, **steps}.items()]
    over = not options.large and above > options.limit_mb * 1e6
    notes = [f"{sampler.samples:,} samples of the memory."]
    notes += [f"OVER THE LIMIT of {options.limit_mb:.0f} MB above the interpreter."] if over else []

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        places = range(len(megabytes))[::-1]
        drawn = axes.barh(places, list(megabytes.values()), color=report.COLOURS[0], zorder=3)
        axes.bar_label(drawn, [f"{value:,.0f} MB" for value in megabytes.values()], padding=3, fontsize=9)
        axes.set_yticks(places, list(megabytes))
        axes.margins(x=0.15)
        report.style(axes, job, "MB", "", grid="x")

    return report.Report(f"Peak memory of `hashneg mine`: {job}", raw, table, draw, notes, over)


if __name__ == "__main__":  # python -m benchmarks.memory
    from benchmarks.__main__ import main

    sys.exit(main(["memory", *([] if "--large" in sys.argv else ["--full"]), *sys.argv[1:]]))
