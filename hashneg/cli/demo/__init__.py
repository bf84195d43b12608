"""``hashneg demo``: code search over the standard library of the running Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the plot, the table and the negatives; made if needed.")
    ] = Path("hashneg-demo"),
    limit: Annotated[
        int | None, typer.Option("--limit", min=300, help="Mine at most this many pairs, evenly spaced.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the embedding, the quantizers and the choice of examples.")
    ] = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads to use; all cores by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Mine at most 1500 pairs.")] = False,
) -> None:
    """Mine hard negatives from the Python standard library and compare them with exact cosine.

    Docstrings are the anchors, function bodies the corpus. Nothing is downloaded. Takes under a minute.
    """
    from hashneg.cli.demo.run import run

    run(out, limit=min(limit or 1500, 1500) if quick else limit, seed=seed, threads=threads)
