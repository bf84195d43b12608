"""The demo from start to end: read, embed, compare, mine, show, write."""

from __future__ import annotations

import csv
import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np

import hashneg as hn
from hashneg.cli.console import Console
from hashneg.cli.demo import compare, corpus, embed, plot, show
from hashneg.cli.guard import CommandError
from hashneg.files import atomic_path
from hashneg.threads import thread_count

Item = TypeVar("Item")
INSTALL = 'pip install "hashneg[demo]"'


def run(out: Path, *, limit: int | None, seed: int, threads: int | None) -> None:
    """Run the demo and write its files to `out`.

    Raises
    ------
    CommandError
        If scikit-learn is not installed.
    NoSourcesError
        If this Python has no sources of its standard library.
    OSError
        If `out` cannot be written to.
    """
    try:
        import sklearn  # noqa: F401
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
    except ModuleNotFoundError as error:
        raise CommandError(f"the demo needs scikit-learn; install it with: {INSTALL}") from error
    begun = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    threads = thread_count(threads)
    with threadpool_limits(threads):
        _run(out, limit, seed, threads)
    show.line(f"\nThe whole demo took {time.perf_counter() - begun:.0f} s.")


def _run(out: Path, limit: int | None, seed: int, threads: int) -> None:
    console = Console()
    show.line(
        f"hashneg {hn.__version__} demo: code search over the standard library of Python {platform.python_version()}"
    )
    library = _read(console)
    anchors, bodies = _embed(console, library, seed)  # of all pairs, since a map of few learns them by heart
    rows = corpus.spread(len(library), limit)
    pairs = [library[row] for row in rows]
    if len(pairs) < len(library):
        show.line(f"{len(pairs):,} of them are used from here on")
    comparison = compare.Comparison(anchors[rows], bodies[rows], seed, threads)
    show.first_calls(_watched(console, "compiling or loading kernels", 2, comparison.first_calls()))
    show.costs(_watched(console, "measuring time and memory", 3, comparison.costs()), len(pairs), threads)
    total = 2 * len(compare.BITS) * len(compare.DEPTHS)
    overlaps = _watched(console, "measuring overlap", total, comparison.overlaps())
    show.overlaps(overlaps)
    mined = comparison.mine(compare.MINING_BITS, relative_margin=compare.MARGIN)
    show.report(mined.report)
    scores = comparison.positive_scores
    show.examples(pairs, mined, scores, seed)
    paths = [
        _write_overlaps(overlaps, out / "overlap.csv"),
        _write_negatives(pairs, mined, scores, out / "negatives.jsonl"),
    ]
    try:
        paths.insert(0, plot.save(overlaps, len(pairs), out / "overlap.png"))
    except ModuleNotFoundError:
        show.line(f"\nNo plot was drawn: it needs matplotlib; install it with: {INSTALL}")
    show.line("\nFiles:\n" + "\n".join(f"  {path}" for path in paths))


def _read(console: Console) -> list[corpus.Pair]:
    begun = time.perf_counter()
    root = corpus.standard_library()
    with console.progress("reading the standard library:", len(corpus.source_files(root)), "file") as update:
        pairs = corpus.read_pairs(root, update)
    show.line(
        f"{len(pairs):,} pairs of a docstring (the anchor) and its code (the positive), "
        f"read in {time.perf_counter() - begun:.1f} s"
    )
    return pairs


def _embed(console: Console, pairs: Sequence[corpus.Pair], seed: int) -> tuple[np.ndarray, np.ndarray]:
    begun = time.perf_counter()
    with console.progress("embedding docstrings and code:", embed.STEPS, "step") as update:
        anchors, bodies = embed.embed([p.docstring for p in pairs], [p.body for p in pairs], seed, update)
    show.line(f"embedded in {anchors.shape[1]} dimensions in {time.perf_counter() - begun:.1f} s")
    return anchors, bodies


def _watched(console: Console, what: str, total: int, items: Iterable[Item]) -> list[Item]:
    """Collect the items and show how many of them are there."""
    found = []
    with console.progress(f"{what}:", total, "step") as update:
        for item in items:
            found.append(item)
            update(len(found), total)
    return found


def _write_overlaps(overlaps: Sequence[compare.Overlap], path: Path) -> Path:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["n_bits", "k", "rerank", "overlap"])
        table.writerows(
            [row.n_bits, row.k, compare.RERANK if row.rerank else 0, f"{row.overlap:.6f}"] for row in overlaps
        )
    return path


def _write_negatives(
    pairs: Sequence[corpus.Pair], mined: hn.HardNegatives, positive_scores: np.ndarray, path: Path
) -> Path:
    """One line for each pair; a negative names the row, that is the line, of its own pair."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row, (pair, count) in enumerate(zip(pairs, mined.counts.tolist(), strict=True)):
            found = zip(mined.indices[row, :count].tolist(), mined.scores[row, :count].tolist(), strict=True)
            negatives = [{"row": other, "name": pairs[other].name, "score": round(score, 6)} for other, score in found]
            record = {"row": row, **asdict(pair), "score": round(float(positive_scores[row]), 6)}
            file.write(json.dumps({**record, "negatives": negatives}) + "\n")
    return path
