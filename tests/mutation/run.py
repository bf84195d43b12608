"""Change the library in one place at a time, and see whether its tests notice: mutation testing.

    pip install cosmic-ray
    python tests/mutation/run.py --count 300 --seed 0 --results mutants.jsonl

A place (an operator, comparison, number, keyword or decorator outside of annotations) is drawn, then one of the changes
that cosmic-ray knows for it. The tests that guard the file run on a copy of the last commit, in a process forked from
one that has imported NumPy and pytest already. A run that is stopped goes on where it was. ``--again`` tries the
survivors with the tests of the last commit, ``--report`` prints what is left. Not part of the test suite: 300 mutants
cost about half an hour of one core.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("quantize", "hamming", "mining", "theory")
NOT_MUTATED = {"hashneg/hamming/streaming.py"}  # of devices alone: its tests run an emulation
CPU_SECONDS = 60  # a mutant that takes longer is killed
FASTER = "not torch and not tensorflow and not jax and not large and not spawn and not fork"

_QUANTIZE = ["quantize/test_saving.py", "quantize/test_rotations.py", "quantize/test_fitting.py"]
_INDEX = ["hamming/test_index_files.py", "hamming/test_index_probe.py", "hamming/test_index.py"]
_MINING = ["mining/test_six_steps.py", "mining/test_mining_arguments.py", "mining/test_job.py"]
_STRATEGIES = ["mining/test_random_strategy.py", "mining/test_weighted_strategies.py"]
#: The tests that guard a file, those that fail soonest first; the longest prefix counts.
TESTS = {
    "quantize/": [*_QUANTIZE, "quantize/test_given.py", "quantize/test_bits.py"],
    "quantize/given": ["quantize/test_given.py"],
    "hamming/index": [*_INDEX, "hamming/test_rescored.py"],
    "hamming/clustering": ["hamming/test_clustering.py", *_INDEX],
    "hamming/rabitq": ["hamming/test_rescored.py"],
    "hamming/order": ["hamming/test_rescored.py", "mining/test_six_steps.py"],
    "hamming/exact": ["hamming/test_exact.py"],
    "hamming/merge": ["hamming/test_merge.py"],
    "hamming/": ["hamming/test_search_arguments.py", "hamming/test_distances.py", "hamming/test_topk.py"],
    "mining/": [*_MINING, *_STRATEGIES, "mining/test_mining_pitfalls.py", "mining/test_backend.py"],
    "mining/scor": ["mining/test_rabitq_rerank.py", *_MINING, "mining/test_backend.py"],
    "mining/job": [*_MINING, *_STRATEGIES, "mining/test_rabitq_rerank.py", "mining/test_mining_pitfalls.py"],
    "theory/": [
        "theory/test_by_hand.py",
        "theory/test_formulas.py",
        "theory/test_rabitq.py",
        "theory/test_laws.py",
        "theory/test_chance.py",
    ],
    "theory/rabitq": ["theory/test_by_hand.py", "theory/test_rabitq.py", "hamming/test_rescored.py"],
    "theory/planning": ["theory/test_plan.py"],
    "theory/neighbourhood": ["theory/test_plan.py"],
    "theory/calibration": ["theory/test_plan.py"],
    "theory/overlap": ["theory/test_by_hand.py", "theory/test_plan.py", "theory/test_laws.py"],
}


def tests_of(path: str) -> list[str]:
    name = path.removeprefix("hashneg/")
    prefix = max((prefix for prefix in TESTS if name.startswith(prefix)), key=len)
    return [f"tests/{test}" for test in TESTS[prefix]]


def places(source: str) -> dict[tuple, list[tuple[str, int]]]:
    """(operator, occurrence) of every mutant of a file, by the place that it changes."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    notes = [
        note
        for node in ast.walk(ast.parse(source))
        for note in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if note is not None
    ]
    spans = [((note.lineno, note.col_offset), (note.end_lineno, note.end_col_offset)) for note in notes]
    found: dict[tuple, list[tuple[str, int]]] = {}
    tree = get_ast(source)
    for name in sorted(plugins.operator_names()):
        operator = plugins.get_operator(name)
        if operator.arguments():
            continue
        positions = [span for node in ast_nodes(tree) for span in operator().mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            if not any(low <= tuple(start) and tuple(end) <= high for low, high in spans):
                found.setdefault((*start, *end), []).append((name, occurrence))
    return found


def draw(root: Path, count: int, seed: int) -> list[tuple[str, str, int]]:
    """A sample of (file, operator, occurrence), the same for the same sources and seed."""
    paths = sorted(
        str(path.relative_to(root)) for package in PACKAGES for path in (root / "hashneg" / package).glob("*.py")
    )
    everything = [
        (path, mutants)
        for path in paths
        if path not in NOT_MUTATED
        for _, mutants in sorted(places((root / path).read_text()).items())
    ]
    rng = random.Random(seed)
    chosen = rng.sample(everything, min(count, len(everything)))
    print(f"{len(everything)} places, {sum(len(mutants) for _, mutants in everything)} mutants", flush=True)
    return [(path, *rng.choice(mutants)) for path, mutants in chosen]


def passes(root: Path, tests: list[str]) -> tuple[bool, float]:
    """Whether tests pass in a forked process, and the CPU seconds they took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        code: int = 1
        try:
            import pytest

            options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", FASTER]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before pytest could rewrite it
            code = int(pytest.main([*options, f"--hypothesis-profile={_quick_to_fail()}", *tests]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status == 0, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _quick_to_fail() -> str:
    """A profile of hypothesis like that of the tests, which does not look for the smallest example that fails."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants", derandomize=True, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    return "mutants"


def prepare(root: Path) -> None:
    """Copy the last commit to `root`, go there, and import what no mutant changes."""
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(root)], check=True)
    os.chdir(root)
    os.environ |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(root / ".numba")}
    sys.path.insert(0, str(root))
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import scipy.stats  # noqa: F401


def check_unchanged(root: Path, paths: list[str]) -> None:
    """SystemExit unless the tests of these files pass on the unchanged library."""
    for tests in sorted({tuple(tests_of(path)) for path in paths}):
        passes(root, list(tests))  # fills the caches
        good, seconds = passes(root, list(tests))
        print(f"unchanged: {'pass' if good else 'FAIL'}, {seconds:.1f} CPU s, {' '.join(tests)}", flush=True)
        if not good:
            raise SystemExit("the tests must pass on the unchanged library")
    sys.dont_write_bytecode = True  # two mutants of one second and size would be taken for each other


def tried(root: Path, path: str, operator: str, occurrence: int) -> dict[str, Any]:
    """What becomes of one mutant."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    file = root / path
    source, when = file.read_text(), file.stat().st_mtime_ns
    mutant = mutate_code(source, get_operator(operator)(), occurrence)
    diff = difflib.unified_diff(source.splitlines(), mutant.splitlines(), path, path, lineterm="", n=1)
    try:
        file.write_text(mutant)
        survived, seconds = passes(root, tests_of(path))
    finally:
        file.write_text(source)
        os.utime(file, ns=(when, when))
    return {
        "file": path, "operator": operator, "occurrence": occurrence, "survived": survived,
        "seconds": round(seconds, 1), "diff": list(diff)[2:],
    }  # fmt: skip


def run(results: Path, root: Path, count: int, seed: int, hours: float) -> None:
    """Try a sample of mutants, those that are not among the results yet."""
    known = {key(mutant) for mutant in read(results)} if results.exists() else set()
    sample = [mutant for mutant in draw(root, count, seed) if mutant not in known]
    check_unchanged(root, [path for path, *_ in sample])
    end = time.monotonic() + hours * 3600
    for mutant in sample:
        if time.monotonic() > end:
            break
        with results.open("a") as opened:
            opened.write(json.dumps(tried(root, *mutant)) + "\n")


def again(results: Path, root: Path) -> None:
    """Try the survivors again; one whose place is no longer the same stays a survivor."""
    mutants = read(results)
    check_unchanged(root, [mutant["file"] for mutant in mutants if mutant["survived"]])
    for mutant in mutants:
        if mutant["survived"]:
            now = tried(root, *key(mutant))
            mutant["survived"] = now["survived"] or now["diff"][1:] != mutant["diff"][1:]
            results.write_text("".join(json.dumps(mutant) + "\n" for mutant in mutants))


def key(mutant: dict[str, Any]) -> tuple[str, str, int]:
    return mutant["file"], mutant["operator"], mutant["occurrence"]


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def report(results: Path) -> None:
    mutants = read(results)
    total: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    for mutant in mutants:
        package = mutant["file"].split("/")[1]
        total[package] += 1
        killed[package] += not mutant["survived"]
        if mutant["survived"]:
            print(mutant["file"], mutant["operator"], *mutant["diff"], sep="\n", end="\n\n")
    for package in total:
        print(f"{package}: {killed[package]} of {total[package]} killed")
    print(f"all: {killed.total()} of {total.total()} killed, {sum(mutant['seconds'] for mutant in mutants):.0f} CPU s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=3.0, help="stop after this time; the next run goes on")
    parser.add_argument("--again", action="store_true", help="run the survivors again")
    parser.add_argument("--report", action="store_true", help="print the survivors and the shares killed")
    given = parser.parse_args()
    results = given.results.resolve()
    if given.report:
        report(results)
    else:
        with tempfile.TemporaryDirectory(prefix="mutants-") as root:
            prepare(Path(root))
            if given.again:
                again(results, Path(root))
            else:
                run(results, Path(root), given.count, given.seed, given.hours)
