""".parquet and .jsonl files of results, written as a stream: the same rows give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli.array_files import ABOUT, as_json
from hashneg.cli.guard import CommandError
from hashneg.cli.inputs import open_parquet
from hashneg.files import atomic_path

_GROUP_ROWS = 8192
_COPY_BYTES = 16 << 20


def write_parquet(path: Path, schema: Any, tables: Iterable[Any], about: Mapping[str, Any]) -> None:
    """Write tables as row groups of a fixed size, however the rows arrive."""
    import pyarrow.parquet as pq

    schema = schema.with_metadata({ABOUT: as_json(about)})
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for group in _groups(tables):
            writer.write_table(group.replace_schema_metadata(schema.metadata), row_group_size=_GROUP_ROWS)


def _groups(tables: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    waiting: list[Any] = []
    count = 0
    for table in tables:
        waiting.append(table.replace_schema_metadata(None))
        count += len(table)
        while count >= _GROUP_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, _GROUP_ROWS).combine_chunks()
            waiting, count = [joined.slice(_GROUP_ROWS)], count - _GROUP_ROWS
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def read_parquet_about(path: Path) -> dict[str, Any] | None:
    """The description in a parquet file; None if hashneg did not write it."""
    with open_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(ABOUT.encode())
    return None if text is None else json.loads(text)


def parquet_schema(path: Path) -> Any:
    with open_parquet(path) as file:
        return file.schema_arrow.remove_metadata()


def read_parquet(path: Path) -> Iterator[Any]:
    """The tables of a parquet file."""
    import pyarrow as pa

    with open_parquet(path) as file:
        try:
            for batch in file.iter_batches(batch_size=_GROUP_ROWS):
                yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowException) as error:
            raise CommandError(f"{path} is damaged: {error}") from None


def json_lines(tables: Iterable[Any]) -> Iterator[bytes]:
    """Tables as JSON, an object per row; float32 are written with as many digits as they have."""
    for table in tables:
        columns = [_plain(column.combine_chunks()) for column in table.columns]
        rows = zip(*columns, strict=True)
        lines = (json.dumps(dict(zip(table.column_names, row, strict=True)), ensure_ascii=False) for row in rows)
        yield "".join(f"{line}\n" for line in lines).encode()


def write_jsonl(path: Path, lines: Iterable[bytes], about: Mapping[str, Any], is_slice: bool) -> None:
    """Write lines of JSON; a slice ends with a line that says which slice it is."""
    records = 0
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for piece in lines:
            records += piece.count(b"\n")
            file.write(piece)
        if is_slice:
            file.write(f"{json.dumps({ABOUT: {**about, 'records': records}}, sort_keys=True)}\n".encode())


def read_jsonl_about(path: Path) -> dict[str, Any] | None:
    """The description at the end of a slice; None if there is none."""
    start = _last_line(path)
    with open(path, "rb") as file:
        file.seek(start)
        try:
            about = json.loads(file.read())[ABOUT]
        except (ValueError, KeyError, TypeError):
            return None
    return about if isinstance(about, dict) else None


def read_jsonl(path: Path, records: int) -> Iterator[bytes]:
    """The lines of a slice without its last; CommandError unless there are `records` of them."""
    left = _last_line(path)
    seen = 0
    with open(path, "rb") as file:
        while left:
            piece = file.read(min(_COPY_BYTES, left))
            left -= len(piece)
            seen += piece.count(b"\n")
            yield piece
    if seen != records:
        raise CommandError(f"{path} is damaged: it says that it holds {records:,} lines, and it holds {seen:,}")


def _last_line(path: Path) -> int:
    """Where the last line of a file starts."""
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        start = max(0, end - (1 << 20))
        file.seek(start)
        return start + file.read().rstrip(b"\n").rfind(b"\n") + 1


def _plain(column: Any) -> list[Any]:
    """A column as Python values, with float32 as the shortest decimals that mean them."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_float32(kind.value_type):
        values = _shortest(column.flatten())
        offsets = np.asarray(column.offsets) - column.offsets[0].as_py()
        return [values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    return _shortest(column) if pa.types.is_float32(kind) else column.to_pylist()


def _shortest(column: Any) -> list[float | None]:
    values = column.to_numpy(zero_copy_only=False)
    decimals = values.astype(str).astype(np.float64).tolist()
    finite = np.isfinite(values).tolist()  # JSON has neither NaN nor infinity; a missing value reads as NaN
    return [value if real else None for value, real in zip(decimals, finite, strict=True)]
