"""Texts of anchors and corpus rows, read from their file one by one: only line positions are in memory."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hashneg.cli import array_files
from hashneg.cli.guard import CommandError
from hashneg.cli.inputs import open_parquet, split_name

SUFFIXES = (".txt", ".jsonl", ".parquet")
DEFAULT_COLUMN = "text"
_SCAN_BYTES = 8 << 20


class Texts(Protocol):
    """Text number i of a file."""

    def __len__(self) -> int: ...

    def get(self, ids: np.ndarray) -> list[str]:
        """The texts of the rows `ids`, each in 0..n-1."""


class LineTexts:
    """A text per line of a memory-mapped file.

    Parameters
    ----------
    path : Path
    decode : function of (line, row number)
        Turns a line, without its line end, into the text.
    """

    def __init__(self, path: Path, decode: Callable[[bytes, int], str]) -> None:
        self._decode = decode
        size = path.stat().st_size
        with open(path, "rb") as file:
            self._bytes: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        ends = [np.empty(0, np.int64), *self._line_ends(size)]
        self._ends = np.concatenate(ends)
        if size and self._bytes[size - 1] != 10:  # the last line may lack its line end
            self._ends = np.append(self._ends, size)

    def __len__(self) -> int:
        return len(self._ends)

    def get(self, ids: np.ndarray) -> list[str]:
        return [self._line(int(row)) for row in ids]

    def _line_ends(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, size, _SCAN_BYTES):
            piece = np.frombuffer(self._bytes, np.uint8, min(_SCAN_BYTES, size - start), start)
            yield np.flatnonzero(piece == 10) + start

    def _line(self, row: int) -> str:
        start = int(self._ends[row - 1]) + 1 if row else 0
        return self._decode(self._bytes[start : self._ends[row]].removesuffix(b"\r"), row)


class CopiedTexts:
    """Texts of a parquet column, copied to a temporary file."""

    def __init__(self, path: Path, lengths: np.ndarray) -> None:
        self._ends = np.cumsum(lengths)
        with open(path, "rb") as file:
            total = int(self._ends[-1]) if len(lengths) else 0
            self._bytes: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if total else b""

    def __len__(self) -> int:
        return len(self._ends)

    def get(self, ids: np.ndarray) -> list[str]:
        starts = np.where(ids > 0, self._ends[ids - 1], 0)
        return [self._bytes[a:b].decode() for a, b in zip(starts.tolist(), self._ends[ids].tolist(), strict=True)]


def open_texts(option: str, spec: str, rows: int, of: str, temporary: Callable[[str], Path]) -> tuple[Texts, Path]:
    """The texts of ``file`` or ``file:column``, and the file.

    Parameters
    ----------
    rows : int
        How many there must be: as many as there are `of`.
    temporary : function of str
        Makes a temporary file with this suffix.

    Raises
    ------
    CommandError
        If the file is missing or broken, or its length is not `rows`.
    """
    path, column = split_name(option, spec, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix == ".txt" and column is not None:
        raise CommandError(f"{option}: {path} has no columns; leave out ':{column}'")
    column = column or DEFAULT_COLUMN
    texts: Texts
    if suffix == ".parquet":
        texts = _copied(option, path, column, temporary)
    else:
        texts = LineTexts(path, _plain(option, path) if suffix == ".txt" else _json_field(option, path, column))
    if len(texts) != rows:
        raise CommandError(f"{option}: {path} holds {len(texts):,} texts, but there are {rows:,} {of}; they must agree")
    return texts, path


def _plain(option: str, path: Path) -> Callable[[bytes, int], str]:
    def decode(line: bytes, row: int) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise CommandError(f"{option}: {path}, line {row + 1}, is not UTF-8: {error.reason}") from None

    return decode


def _json_field(option: str, path: Path, column: str) -> Callable[[bytes, int], str]:
    def decode(line: bytes, row: int) -> str:
        where = f"{option}: {path}, line {row + 1},"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise CommandError(f"{where} is not JSON: {error}") from None
        if not isinstance(value, dict) or not isinstance(value.get(column), str):
            raise CommandError(f"{where} has no text under {column!r}; name the field: {path}:FIELD")
        text = value[column]
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise CommandError(f"{where} holds half of a surrogate pair, which is no text; remove it")
        return text

    return decode


def _copied(option: str, path: Path, column: str, temporary: Callable[[str], Path]) -> CopiedTexts:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = [np.empty(0, np.int64)]
    try:
        file = open_parquet(path)
    except CommandError as error:
        raise CommandError(f"{option}: {error}") from None
    with file:
        schema = file.schema_arrow
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        if column not in texts:
            listed = ", ".join(texts) or "none"
            raise CommandError(f"{option}: {path} has no column {column!r} of texts; write {path}:COLUMN, of: {listed}")
        copy = temporary(".texts")
        with open(copy, "wb") as out:
            for batch in file.iter_batches(batch_size=8192, columns=[column]):
                values = batch.column(0).cast(pa.large_string())
                if values.null_count:
                    raise CommandError(f"{option}: {path}:{column} has rows without a text; fill them or drop them")
                sizes = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
                lengths.append(sizes)
                if total := int(sizes.sum()):
                    first = int(np.frombuffer(values.buffers()[1], np.int64)[values.offset])
                    out.write(values.buffers()[2].slice(first, total))
    return CopiedTexts(copy, np.concatenate(lengths))


def check_lines(texts: Texts) -> None:
    """Read every text once, so that a broken line is told before the work starts."""
    for start in range(0, len(texts), array_files.CHUNK_BYTES >> 10):
        texts.get(np.arange(start, min(start + (array_files.CHUNK_BYTES >> 10), len(texts))))
