"""Slices of a job's anchors: what a file says about itself, and how slices are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli import array_files, row_files
from hashneg.cli.array_files import ABOUT, Stream
from hashneg.cli.guard import CommandError

ARRAY_SUFFIXES = (".npz", ".safetensors")
ROW_SUFFIXES = (".parquet", ".jsonl")
SUFFIXES = (*ARRAY_SUFFIXES, *ROW_SUFFIXES)
KIND = "hard negatives"
_SUMMED = ("mined", "short", "removed")


@dataclass(frozen=True)
class Slice:
    """A result file and what it says: which job, which rows of the anchors."""

    path: Path
    about: dict[str, Any]

    @property
    def start(self) -> int:
        return self.about["rows"][0]

    @property
    def stop(self) -> int:
        return self.about["rows"][1]

    def __str__(self) -> str:
        return f"{self.path} (rows {self.start}:{self.stop})"


def read_slice(path: Path) -> Slice:
    """What a result file says about itself; CommandError if it is truncated or of another program."""
    about = _ABOUT_READERS[path.suffix.lower()](path)
    if about is None:
        hint = " that was mined with --rows; its last line is missing" if path.suffix.lower() == ".jsonl" else ""
        raise CommandError(f"{path} is not a whole result of hashneg mine{hint}")
    if about.get("kind") != KIND:
        raise CommandError(f"{path} was written by hashneg, but is no result of hashneg mine")
    return Slice(path, about)


def joined(slices: Sequence[Slice]) -> tuple[list[Slice], dict[str, Any]]:
    """The slices in the order of their rows, and the description of the whole.

    Raises
    ------
    CommandError
        If they are of different jobs, overlap, or leave rows out.
    """
    ordered = sorted(slices, key=lambda part: (part.start, part.stop))
    first = ordered[0]
    for other in ordered[1:]:
        if differing := _differing(first.about, other.about):
            raise CommandError(
                f"{other.path} and {first.path} are not slices of one job: they differ in {', '.join(differing)}"
            )
    end, before = 0, first
    for part in ordered:
        if part.start < end:
            raise CommandError(f"{part} overlaps {before}; leave one of them out")
        if part.start > end:
            raise CommandError(f"rows {end}:{part.start} are missing; mine them with --rows {end}:{part.start}")
        end, before = part.stop, part
    total = first.about["anchors"]
    if end != total:
        raise CommandError(f"rows {end}:{total} are missing; mine them with --rows {end}:{total}")
    whole = {name: value for name, value in first.about.items() if name != "records"}
    return ordered, {**whole, "rows": [0, total], **summed([part.about for part in ordered])}


def summed(abouts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of several slices, added up."""
    removed: dict[str, int] = {}
    for about in abouts:
        for name, count in about["removed"].items():
            removed[name] = removed.get(name, 0) + count
    plain = {name: sum(about[name] for about in abouts) for name in _SUMMED if name != "removed"}
    return {**plain, "removed": removed}


def array_streams(paths: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, Stream]:
    """The arrays of several .npz or .safetensors files, one file after the other.

    Parameters
    ----------
    names : sequence of str, optional
        Which arrays; all of the first file by default.
    """
    headers, readers = zip(*(_open_arrays(path) for path in paths), strict=True)
    for path, header in zip(paths, headers, strict=True):
        if {name: (h[0], h[1][1:]) for name, h in header.items()} != {
            name: (h[0], h[1][1:]) for name, h in headers[0].items()
        }:
            raise CommandError(f"{path} holds other arrays than {paths[0]}; was it changed?")
    streams = {}
    for name in names or list(headers[0]):
        dtype, (_, *rest) = headers[0][name]
        rows = sum(header[name][1][0] for header in headers)
        pieces = chain.from_iterable(map(_reading(name), readers))
        streams[name] = Stream(dtype, (rows, *rest), pieces)
    return streams


def row_tables(paths: Sequence[Path]) -> Iterator[Any]:
    """The rows of several .parquet files, one file after the other."""
    return chain.from_iterable(map(row_files.read_parquet, paths))


def row_lines(slices: Sequence[Slice]) -> Iterator[bytes]:
    """The lines of several .jsonl slices, one after the other."""
    for part in slices:
        yield from row_files.read_jsonl(part.path, part.about["records"])


_Header = dict[str, tuple[np.dtype, tuple[int, ...]]]
_Reader = Callable[[str], Iterator[Any]]


def _reading(name: str) -> Callable[[_Reader], Iterator[Any]]:
    return lambda read: read(name)


def _open_arrays(path: Path) -> tuple[_Header, _Reader]:
    if path.suffix.lower() == ".safetensors":
        arrays, _ = array_files.map_safetensors(path)
        return {n: (a.dtype, a.shape) for n, a in arrays.items()}, lambda name: array_files.chunks_of(arrays[name])
    names = [name for name in array_files.npz_names(path) if name != ABOUT]
    headers = {name: array_files.npz_header(path, name) for name in names}
    return {n: (dtype, shape) for n, (shape, _, dtype) in headers.items()}, lambda n: array_files.npz_chunks(path, n)


def _npz_about(path: Path) -> dict[str, Any] | None:
    import json

    if ABOUT not in array_files.npz_names(path):
        return None
    with np.load(path, allow_pickle=False) as opened:
        return json.loads(str(opened[ABOUT]))


def _safetensors_about(path: Path) -> dict[str, Any] | None:
    import json

    _, metadata = array_files.map_safetensors(path)
    return json.loads(metadata[ABOUT]) if ABOUT in metadata else None


_ABOUT_READERS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    ".npz": _npz_about,
    ".safetensors": _safetensors_about,
    ".parquet": row_files.read_parquet_about,
    ".jsonl": row_files.read_jsonl_about,
}


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what differs between two descriptions, apart from what slices of a job differ in."""
    own = {"rows", "records", *_SUMMED}
    names = sorted((set(one) | set(other)) - own)
    differing = [name for name in names if one.get(name) != other.get(name)]
    for group in ("options", "inputs"):  # say what differs, not only that something does
        if group in differing:
            inside = sorted(set(one.get(group, {})) | set(other.get(group, {})))
            details = [n for n in inside if one.get(group, {}).get(n) != other.get(group, {}).get(n)]
            differing[differing.index(group)] = f"{group} ({', '.join(details)})"
    return [name for name in differing if name != "job"] or differing
