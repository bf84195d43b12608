"""The runner: ``python -m benchmarks NAME [--quick | --full]``.

Results go to benchmarks/results, or where --results says.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from pathlib import Path

from benchmarks import report, setup

NAMES = (
    "search", "selfmine", "quantize", "job", "scaling", "latency", "memory", "overlap", "training", "negatives",
    "hashing", "radius",
)  # fmt: skip
RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n\n")[2])
    parsers = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in NAMES}
    for name, module in modules.items():
        assert module.__doc__ is not None
        of_name = parsers.add_parser(
            name, help=module.__doc__.partition("\n")[0], description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        _add_options(of_name)
        if hasattr(module, "add_options"):
            module.add_options(of_name)
    options = parser.parse_args(arguments)
    foreign_load = setup.foreign_load()
    found = modules[options.name].run(
        setup.set_up(options.size, options.seconds, options.threads, not options.no_peers), options
    )
    header = [*setup.header(), foreign_load()]
    report.show(found, header)
    command = shlex.join(["python", "-m", "benchmarks", *_without_results(arguments)])
    report.save(found, options.name, command, header, options.results)
    setup.say(f"written: {options.results / options.name}.csv, .md and .png")
    return int(found.failed)


def _add_options(parser: argparse.ArgumentParser) -> None:
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", help="a minute, fewer cells")
    size.add_argument("--full", dest="size", action="store_const", const="full", help="every cell")
    size.add_argument("--size", choices=setup.SIZES, help=argparse.SUPPRESS)
    parser.set_defaults(size="default")
    parser.add_argument("--seconds", type=float, help="time for a cell and contender, at least one run (2)")
    parser.add_argument("--threads", type=int, help="the most threads to use (all cores)")
    parser.add_argument("--no-peers", action="store_true", help="measure hashneg alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (benchmarks/results)")


def _without_results(arguments: list[str]) -> list[str]:
    """The arguments that decide what is measured."""
    kept = []
    words = iter(arguments)
    for word in words:
        if word == "--results":
            next(words)
        elif not word.startswith("--results="):
            kept.append(word)
    return kept


def _let_the_processor_choose() -> None:
    """Start over without settings that make OpenBLAS use another processor's kernels; it reads them when loaded."""
    if any(name in os.environ for name in setup.BLAS_SETTINGS):
        kept = {name: value for name, value in os.environ.items() if name not in setup.BLAS_SETTINGS}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], kept)


if __name__ == "__main__":
    _let_the_processor_choose()
    sys.exit(main(sys.argv[1:]))
