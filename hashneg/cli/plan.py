"""``hashneg plan``: how many bits some embeddings need, and what is lost."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hashneg.cli.console import Console
from hashneg.cli.guard import CommandError

__all__ = ["plan"]

_OPTIONS = {"sample": "EMBEDDINGS", "n_bits": "--bits", "k": "-k", "n": "--n"}
_SAME = ("queries", "target_overlap", "target_recall", "max_bytes", "rerank", "rotation", "center", "n_queries", "seed")
_PLOTS = (".png", ".svg", ".pdf")


def plan(
    embeddings: Annotated[
        list[str],
        typer.Argument(
            metavar="EMBEDDINGS",
            help="What to mine from, or a sample of it: .npy, .npz, .safetensors or .parquet; files are stacked.",
        ),
    ],
    queries: Annotated[
        str | None,
        typer.Option("--queries", metavar="FILE[:NAME]", help="Anchors, where they are not rows of EMBEDDINGS."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Negatives per anchor.")] = 16,
    target_overlap: Annotated[
        float | None, typer.Option("--target-overlap", help="Mean overlap@k with exact cosine that is enough.")
    ] = None,
    target_recall: Annotated[
        float | None, typer.Option("--target-recall", help="Share of anchors whose nearest row must be found.")
    ] = None,
    max_bytes: Annotated[
        float | None, typer.Option("--max-bytes", help="Memory for codes and their layout, in bytes.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Rows of the whole corpus, where EMBEDDINGS is a sample of it.")
    ] = None,
    bits: Annotated[str, typer.Option("--bits", help="Bits to compare.")] = "64,128,256,512,1024",
    rerank: Annotated[str, typer.Option("--rerank", help="Rerank factors to compare.")] = "0,2,4,8,16",
    rotation: Annotated[str, typer.Option("--rotation", help="orthogonal, gaussian or hadamard.")] = "orthogonal",
    center: Annotated[str, typer.Option("--center", help="mean or none.")] = "mean",
    n_queries: Annotated[int, typer.Option("--n-queries", help="Anchors to predict from.")] = 512,
    calibration: Annotated[
        bool, typer.Option(help="Run encoding and search for a moment, to predict the time on this machine.")
    ] = True,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw overlap and recall: .png, .svg or .pdf.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table as JSON.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the anchors drawn.")] = 0,
    backend: Annotated[str, typer.Option("--backend", help="auto, or a name that hashneg info lists.")] = "auto",
    threads: Annotated[int | None, typer.Option("--threads", help="Threads; all cores by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> int:
    """Predict what numbers of bits and rerank factors lose on your embeddings, and which is enough.

    The prediction follows from the angles between some anchors and all rows; only the time is measured.
    """
    console = Console(quiet)
    _check_files(plot, output)
    bit_numbers, factors = _integers(bits, "--bits"), _integers(rerank, "--rerank")
    from hashneg.arrays import Embeddings
    from hashneg.cli.inputs import Inputs
    from hashneg.theory import plan as predict

    with ExitStack() as stack:
        stack.enter_context(console.warnings())
        inputs = stack.enter_context(Inputs(output or plot or Path("plan"), console.say))
        arrays = [inputs.array("EMBEDDINGS", spec) for spec in embeddings]
        anchors = None if queries is None else inputs.array("--queries", queries)
        try:
            rows = Embeddings(arrays, "sample")
            with console.progress("comparing anchors with", len(rows), "row") as update:
                made = predict(
                    rows, k, target_overlap=target_overlap, target_recall=target_recall, max_bytes=max_bytes,
                    queries=anchors, n=n, n_bits=bit_numbers, rerank=factors,
                    rotation=rotation, center=None if center == "none" else center, n_queries=n_queries,
                    calibration=calibration, seed=seed, backend=backend, threads=threads, progress=update,
                )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise CommandError(_in_options(str(error))) from None
    if not quiet:
        print(f"{made.n:,} rows, predicted from {made.n_queries:,} anchors\n{made}", flush=True)
    if output is not None:
        _write(made, output)
    if plot is not None:
        _draw(made, plot)
    return 0


def _check_files(plot: Path | None, output: Path | None) -> None:
    for option, path, suffixes in (("--plot", plot, _PLOTS), ("--output", output, (".json",))):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise CommandError(f"{option} {path} must end in {' or '.join(suffixes)}")
        if path.is_dir() or not path.parent.is_dir():
            raise CommandError(f"{option} {path} must name a file in a folder that exists")


def _integers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise CommandError(f"{option} must be integers with commas between them, got {text!r}") from None


def _in_options(text: str) -> str:
    """An error of `hashneg.theory.plan` in terms of options."""
    name, _, rest = text.partition(" ")
    if name in _SAME:
        name = f"--{name.replace('_', '-')}"
    return f"{_OPTIONS.get(name, name)} {rest}"


def _write(made: Any, path: Path) -> None:
    from hashneg.files import atomic_path

    rows = [asdict(row) for row in made.rows]
    choice = None if made.choice is None else {"n_bits": made.choice.n_bits, "rerank": made.choice.rerank}
    about = {
        "k": made.k,
        "n": made.n,
        "n_queries": made.n_queries,
        "targets": made.targets,
        "choice": choice,
        "rows": rows,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _draw(made: Any, path: Path) -> None:
    from hashneg.cli import plan_plot

    try:
        plan_plot.save(made, path)
    except ModuleNotFoundError as error:
        raise CommandError(f'--plot needs {error.name}; install it with: pip install "hashneg[demo]"') from error
