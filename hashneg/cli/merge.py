"""``hashneg merge``: slices of one job become the file that one run would have written."""

from __future__ import annotations

from pathlib import Path

from hashneg.cli import array_files, row_files, slices
from hashneg.cli.console import Console
from hashneg.cli.guard import CommandError


def run_merge(paths: list[Path], output: Path, quiet: bool) -> int:
    """Join the slices in `paths` to `output`."""
    console = Console(quiet)
    suffix = check_output(output)
    for path in paths:
        if path.suffix.lower() != suffix:
            raise CommandError(f"{path} does not end in {suffix} as --output does; slices keep their kind when joined")
        if not path.is_file():
            raise CommandError(f"{path} is not a file; check the path")
        if output.exists() and path.samefile(output):
            raise CommandError(f"--output {output} is one of the slices; choose another name")
    ordered, about = slices.joined([slices.read_slice(path) for path in paths])
    ordered_paths = [part.path for part in ordered]
    if suffix == ".parquet":
        schema = row_files.parquet_schema(ordered_paths[0])
        row_files.write_parquet(output, schema, slices.row_tables(ordered_paths), about)
    elif suffix == ".jsonl":
        row_files.write_jsonl(output, slices.row_lines(ordered), about, is_slice=False)
    else:
        write = array_files.write_npz if suffix == ".npz" else array_files.write_safetensors
        write(output, slices.array_streams(ordered_paths), about)
    rows = [
        ("slices", f"{len(ordered):,}"),
        ("anchors", f"{about['anchors']:,}"),
        ("corpus", f"{about['corpus']:,} rows"),
        ("negatives", f"{about['mined']:,}"),
        ("anchors short of k", f"{about['short']:,}"),
        *((f"removed by {name}", f"{count:,}") for name, count in about["removed"].items()),
    ]
    console.table(f"Joined to {output}", rows)
    return 0


def check_output(output: Path) -> str:
    """The suffix of the output file; CommandError unless a result can be written there."""
    suffix = output.suffix.lower()
    if suffix not in slices.SUFFIXES:
        raise CommandError(f"--output {output} must end in {', '.join(slices.SUFFIXES[:-1])} or {slices.SUFFIXES[-1]}")
    if output.is_dir():
        raise CommandError(f"--output {output} is a folder; name a file in it")
    if not output.parent.is_dir():
        raise CommandError(f"--output {output}: there is no folder {output.parent}; make it first")
    return suffix
