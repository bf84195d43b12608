"""Reading arrays from .npy, .npz, .safetensors and .parquet files without holding them in memory."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli import array_files
from hashneg.cli.guard import CommandError

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
_KEPT_IN_MEMORY = 32 << 20  # smaller arrays are read, larger ones mapped
_BATCH_BYTES = 16 << 20


class Inputs:
    """Opens the input files of one command; what cannot be mapped is converted to a temporary .npy file.

    Parameters
    ----------
    beside : Path
        The output file; temporary files lie in its folder.
    say : function of str
        Told what is converted.
    """

    def __init__(self, beside: Path, say: Callable[[str], None]) -> None:
        self._beside, self._say = beside, say
        self._temporary: list[Path] = []

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *exc: object) -> None:
        for path in self._temporary:
            with suppress(OSError):  # Windows keeps a mapped file; nothing else may hide the first error
                path.unlink()

    def temporary(self, suffix: str) -> Path:
        """A new empty file beside the output, removed at the end."""
        path = array_files.temporary_beside(self._beside, suffix)
        self._temporary.append(path)
        return path

    def array(self, option: str, spec: str) -> np.ndarray:
        """The array of ``file`` or ``file:name``, memory-mapped where it is large.

        Raises
        ------
        CommandError
            If the file is missing, truncated or of another kind, or the name is missing or wrong.
        """
        path, name = split_name(option, spec, SUFFIXES)
        read = {
            ".npy": self._npy, ".npz": self._npz, ".safetensors": self._safetensors, ".parquet": self._parquet,
        }[path.suffix.lower()]  # fmt: skip
        try:
            return self._native(path, read(path, name))
        except CommandError as error:
            raise CommandError(f"{option}: {error}") from None
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CommandError(f"{option}: {path} is not a whole {path.suffix} file of numbers: {error}") from None

    def _npy(self, path: Path, name: str | None) -> np.ndarray:
        if name is not None:
            raise CommandError(f"{path} holds one array; leave out ':{name}'")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _npz(self, path: Path, name: str | None) -> np.ndarray:
        name = _chosen(path, name, array_files.npz_names(path), "array")
        shape, fortran, dtype = array_files.npz_header(path, name)
        if dtype.hasobject:
            raise CommandError(f"{path}:{name} holds Python objects, not numbers")
        if dtype.itemsize * int(np.prod(shape, dtype=np.int64)) <= _KEPT_IN_MEMORY or fortran:
            with np.load(path, allow_pickle=False) as opened:
                return opened[name]
        return self._converted(f"{path}:{name}", dtype, shape, array_files.npz_chunks(path, name))

    def _safetensors(self, path: Path, name: str | None) -> np.ndarray:
        arrays, _ = array_files.map_safetensors(path)
        return arrays[_chosen(path, name, list(arrays), "tensor")]

    def _native(self, path: Path, array: np.ndarray) -> np.ndarray:
        """An array that kernels can read: aligned and of this machine's byte order."""
        if array.dtype.isnative and array.flags.aligned:
            return array
        dtype = array.dtype.newbyteorder("=")
        if array.nbytes <= _KEPT_IN_MEMORY:
            return np.array(array, dtype)
        step = max(1, _BATCH_BYTES * len(array) // array.nbytes)
        blocks = (array[i : i + step].astype(dtype) for i in range(0, len(array), step))
        return self._converted(str(path), dtype, array.shape, (array_files.bytes_of(b) for b in blocks))

    def _converted(self, what: str, dtype: np.dtype, shape: tuple[int, ...], chunks: Iterable[Any]) -> np.ndarray:
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        path = self.temporary(".npy")
        self._say(f"converting {what} to a temporary .npy file of {size / 1e6:,.0f} MB, {path}")
        with open(path, "wb") as file:  # written, not mapped: a full disk is then an error and no crash
            file.write(array_files.npy_header(dtype, shape))
            file.writelines(chunks)
        return np.load(path, mmap_mode="r")

    def _parquet(self, path: Path, name: str | None) -> np.ndarray:
        import pyarrow as pa

        with open_parquet(path) as file:
            schema = file.schema_arrow
            usable = [field.name for field in schema if _numbers(field.type) is not None]
            name = _chosen(path, name, usable, "column of numbers or lists of numbers", schema.names)
            kind = schema.field(name).type
            if not _is_list(kind):
                column = file.read(columns=[name]).column(0)
                _refuse_nulls(column, f"{path}:{name}", 0)
                return column.to_numpy()
            where = f"{path}:{name}"
            if not (pa.types.is_floating(kind.value_type) or pa.types.is_fixed_size_list(kind)):
                return _padded(file.read(columns=[name]).column(0), where)
            return self._matrix(file, name, kind, where)

    def _matrix(self, file: Any, name: str, kind: Any, where: str) -> np.ndarray:
        """A column of lists of one length as a matrix, a batch of rows at a time."""
        rows = file.metadata.num_rows
        dtype = np.dtype(kind.value_type.to_pandas_dtype())
        width = getattr(kind, "list_size", None)
        if width is None:
            first = next(file.iter_batches(batch_size=1, columns=[name]), None)
            width = len(first.column(0)[0].as_py() or ()) if first is not None else 0
        batch = max(1, _BATCH_BYTES // max(width * dtype.itemsize, 1))
        blocks = _list_blocks(file.iter_batches(batch_size=batch, columns=[name]), width, dtype, where)
        if rows * width * dtype.itemsize <= _KEPT_IN_MEMORY:
            return np.concatenate([np.empty((0, width), dtype), *blocks])
        return self._converted(where, dtype, (rows, width), (array_files.bytes_of(b) for b in blocks))


def split_name(option: str, spec: str, suffixes: tuple[str, ...]) -> tuple[Path, str | None]:
    """Split ``file:name`` and check that the file is there and of a kind that can be read."""
    path, name = Path(spec), None
    if not path.exists() and ":" in spec:
        before, _, after = spec.rpartition(":")
        if Path(before).suffix.lower() in suffixes:
            path, name = Path(before), after
    if path.suffix.lower() not in suffixes:
        raise CommandError(f"{option}: {spec} must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    if not path.is_file():
        raise CommandError(f"{option}: {path} is not a file; check the path")
    return path, name


def open_parquet(path: Path) -> Any:
    """A parquet file opened for reading; CommandError if it is truncated or none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise CommandError(f"{path} is not a whole .parquet file: {error}") from None


def _chosen(path: Path, name: str | None, names: list[str], what: str, present: list[str] | None = None) -> str:
    if name in names:
        return str(name)
    listed = ", ".join(names) or "none"
    if name is not None:
        wrong = "is not a" if present and name in present else "is missing; there is no"
        raise CommandError(f"{path}:{name} {wrong} {what}; choose one of: {listed}")
    if len(names) != 1:
        example = f"; write {path}:{names[0]}, for example" if names else ""
        raise CommandError(f"{path} holds {len(names)} {what}s ({listed}), and one must be chosen{example}")
    return names[0]


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _numbers(kind: Any) -> Any:
    """The type of the numbers in a column or in its lists; None if there are none."""
    import pyarrow as pa

    item = kind.value_type if _is_list(kind) else kind
    plain = pa.types.is_floating(item) or pa.types.is_integer(item) or pa.types.is_boolean(item)
    return item if plain else None


def _refuse_nulls(column: Any, where: str, first_row: int) -> None:
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise CommandError(f"{where} has no value in row {row}; fill it or drop the row")


def _list_blocks(batches: Iterable[Any], width: int, dtype: np.dtype, where: str) -> Iterator[np.ndarray]:
    import pyarrow.compute as pc

    row = 0
    for batch in batches:
        column = batch.column(0)
        _refuse_nulls(column, where, row)
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        if (lengths != width).any():
            wrong = int(np.argmax(lengths != width))
            raise CommandError(f"{where} has {lengths[wrong]} numbers in row {row + wrong}, and {width} in row 0")
        values = column.flatten()
        if values.null_count:
            inside = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise CommandError(f"{where} has no value in row {row + inside // width}; fill it or drop the row")
        yield np.array(values.to_numpy(zero_copy_only=False), dtype).reshape(len(column), width)
        row += len(column)


def _padded(column: Any, where: str) -> np.ndarray:
    """Lists of ids of any length as a matrix, padded with -1."""
    import pyarrow.compute as pc

    _refuse_nulls(column, where, 0)
    column = column.combine_chunks()
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    values = column.flatten()
    _refuse_nulls(values, f"{where}, read as one list,", 0)
    ids = np.full((len(lengths), int(lengths.max(initial=0))), -1, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = values.to_numpy(zero_copy_only=False)
    return ids
