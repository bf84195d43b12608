"""What the demo prints: rich tables on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import numpy as np

import hashneg as hn
from hashneg.cli.demo import compare
from hashneg.cli.demo.corpus import Pair

_EXAMPLES = 4
_NEGATIVES = 5


def line(text: str) -> None:
    print(text, flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are figures."""
    line("")
    if sys.stdout.isatty():
        try:
            return _rich_table(title, columns, rows)
        except ImportError:
            pass
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    line(title)
    for cells in (columns, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        line("  ".join([first, *others]).rstrip())
    return None


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="right" if i else "left")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def first_calls(calls: Sequence[compare.FirstCall]) -> None:
    table(
        "Compilation: the first call on 256 rows, and the same call when it is warm",
        ("", "first", "warm", "compiling, or loading from the cache"),
        [(call.what, f"{call.first:.2f} s", f"{call.again:.2f} s", f"{call.compiling:.2f} s") for call in calls],
    )


def costs(found: Sequence[compare.Cost], n_pairs: int, threads: int) -> None:
    table(
        f"Warm time and memory: {compare.K} negatives for each of {n_pairs:,} anchors among {n_pairs:,} bodies, "
        f"{threads} thread{'s' if threads > 1 else ''} for both",
        ("", "time", "peak memory", "searched"),
        [(cost.what, f"{cost.seconds:.3f} s", _megabytes(cost.peak), _megabytes(cost.searched)) for cost in found],
    )
    line(
        "A few thousand bodies cost little either way. Exact cosine multiplies d numbers for every pair, so it is what "
        'grows: the page "How fast, and why" of the documentation shows larger sets.'
    )


def overlaps(found: Sequence[compare.Overlap]) -> None:
    value = {(row.n_bits, row.k, row.rerank): f"{row.overlap:.3f}" for row in found}
    columns = [(k, rerank) for k in compare.DEPTHS for rerank in (False, True)]
    table(
        f"Overlap with exact cosine, the same exclusions on both sides; reranked means {compare.RERANK}k candidates",
        ("bits", *(f"@{k} {'reranked' if rerank else 'Hamming'}" for k, rerank in columns)),
        [(str(n_bits), *(value[n_bits, *column] for column in columns)) for n_bits in compare.BITS],
    )


def report(found: hn.MiningReport) -> None:
    table(f"Mining with positives and relative_margin={compare.MARGIN}: its report", ("what", "how much"), found.rows())


def examples(pairs: Sequence[Pair], mined: hn.HardNegatives, positive_scores: np.ndarray, seed: int) -> None:
    """Some anchors, drawn by the seed, with their positive and their hardest negatives."""
    readable = [
        row for row, pair in enumerate(pairs) if mined.counts[row] >= _NEGATIVES and 25 <= len(pair.headline) <= 90
    ]
    drawn = np.random.default_rng(seed).permutation(readable)[:_EXAMPLES]
    width = shutil.get_terminal_size((120, 24)).columns
    line("\nSome anchors, and functions by cosine with them: the positive, then the hardest negatives")
    for row in sorted(drawn.tolist()):
        line(f"\n  {pairs[row].headline!r}"[:width])
        line(f"    {positive_scores[row]:.3f} + {pairs[row].name}"[:width])
        for other, score in zip(mined.indices[row, :_NEGATIVES], mined.scores[row, :_NEGATIVES], strict=True):
            line(f"    {score:.3f} - {pairs[other].name:<48}  {pairs[other].headline}"[:width])


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
