""".npz and .safetensors files of results, written as a stream: the same arrays give the same bytes."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli.guard import CommandError
from hashneg.files import atomic_path

CHUNK_BYTES = 16 << 20
ABOUT = "hashneg"  # the key, or the array, that holds the description as JSON
_LONGEST_HEADER = 100 << 20
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """An array that is written piece by piece."""

    dtype: np.dtype
    shape: tuple[int, ...]
    chunks: Iterable[Any]


def chunks_of(array: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array in C order, a bounded piece at a time."""
    row = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(array) if array.size else 0, step):
        yield bytes_of(array[start : start + step])


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array in C order, without a copy where it lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def as_json(about: Mapping[str, Any]) -> str:
    return json.dumps(about, sort_keys=True)


def write_safetensors(path: Path, arrays: Mapping[str, Stream], about: Mapping[str, Any]) -> None:
    """Write a safetensors file with one metadata key."""
    codes = {name: code for code, name in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {ABOUT: as_json(about)}}
    end = 0
    ordered = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # wide types first: all aligned
    for name in ordered:
        stream = arrays[name]
        size = stream.dtype.itemsize * int(np.prod(stream.shape, dtype=np.int64))
        header[name] = {
            "dtype": codes[stream.dtype.name],
            "shape": list(stream.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in ordered:
            file.writelines(arrays[name].chunks)


def write_npz(path: Path, arrays: Mapping[str, Stream], about: Mapping[str, Any]) -> None:
    """Write an uncompressed .npz whose entries carry no time and no platform."""
    text = np.array(as_json(about))
    named = {**arrays, ABOUT: Stream(text.dtype, (), [text.tobytes()])}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, stream in named.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                file.write(npy_header(stream.dtype, stream.shape))
                for chunk in stream.chunks:
                    file.write(chunk)


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The start of an .npy file of a C-contiguous array."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of the .npy stream `file`, which is left at the data."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def map_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Memory-map every array of a safetensors file; also its metadata.

    Raises
    ------
    CommandError
        If the file is truncated or is no safetensors file.
    """
    size = path.stat().st_size
    broken = CommandError(f"{path} is not a whole .safetensors file")
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _LONGEST_HEADER):
            raise broken
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            entries = {
                name: (entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in header.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise broken from None
    first = 8 + length
    if first + max((end for *_, end in entries.values()), default=0) != size:
        raise broken
    return {name: _mapped(path, name, first, *entry) for name, entry in entries.items()}, metadata


def _mapped(path: Path, name: str, first: int, code: str, shape: tuple[int, ...], begin: int, end: int) -> np.ndarray:
    dtype = _dtype(code, f"{path}:{name}")
    if end - begin != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise CommandError(f"{path} is not a whole .safetensors file: {name!r} has the wrong size")
    if begin == end:
        return np.empty(shape, dtype)
    raw = np.memmap(path, np.uint8, "r", offset=first + begin, shape=(end - begin,))
    return raw.view(dtype).reshape(shape)


def _dtype(code: str, where: str) -> np.dtype:
    name = _DTYPES.get(code)
    if name is None:
        raise CommandError(f"{where} is of type {code}, which hashneg does not read; convert it to F16 or F32")
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise CommandError(f"{where} is bfloat16, which needs ml-dtypes: pip install ml-dtypes") from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def npz_names(path: Path) -> list[str]:
    """Names of the arrays of an .npz file; CommandError if it is truncated or none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CommandError(f"{path} is not a whole .npz file: {error}") from None


def npz_chunks(path: Path, name: str) -> Iterator[bytes]:
    """The data of one array of an .npz file, a bounded piece at a time."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        read_npy_header(file)
        while piece := file.read(CHUNK_BYTES):
            yield piece


def npz_header(path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of one array of an .npz file."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        return read_npy_header(file)


def temporary_beside(path: Path, suffix: str) -> Path:
    """A new empty file in the folder of `path`, named after it."""
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=suffix, dir=path.parent)
    os.close(handle)
    return Path(name)
