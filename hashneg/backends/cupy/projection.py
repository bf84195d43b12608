"""Rotate, subtract the thresholds, take signs and pack. Every number is one thread's sum, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device
from hashneg.backends.request import Projection

_SCRATCH_BYTES = 256 << 20  # of rotated rows
_THREADS = 128
_STAGED_BYTES = 48 << 10
_TILE = 64  # rows and bits of a block of threads of project.cu
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint16": 3}  # of numbers.cuh; bfloat16 comes as its bits


def add_columns(total: np.ndarray, rows: Any) -> None:
    """Add `rows` to the float64 column sums `total` in place, row after row.

    The order of the additions is that of the rows, so chunking makes no difference.
    """
    rows = device.on_device(rows, rows.dtype)
    sums = device.upload(total)
    function = device.kernel("add_columns", "rotate.cu", TYPE=TYPES[rows.dtype.name], STAGED=0)
    shape = np.int64(rows.shape[0]), np.int64(rows.shape[1])
    device.launch(function, ceil(len(total) / _THREADS), _THREADS, rows, *shape, sums)
    total[:] = sums.get()


def project(rows: Any, projection: Projection) -> Any:
    """z = R x - thresholds of every row, (m, n_bits), float64 for float64 rows, else float32."""
    m, n_bits = len(rows), len(projection.thresholds)
    kind = _kind(rows)
    with device.memory("a projection", m, kind.itemsize * n_bits, _SCRATCH_BYTES):
        z = device.empty((m, n_bits), kind)
        if projection.kind == "dense":
            _dense(rows, projection, z, device.NULL)
            return z
        for start, stop, rotated, thresholds in _rotated(rows, projection):
            z[start:stop] = device.floats(rotated)[:, :n_bits] - thresholds
    return z


def encode(rows: Any, projection: Projection) -> Any:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    m, n_bits = len(rows), len(projection.thresholds)
    width = ceil(n_bits / 8)
    with device.memory("an encoding", m, width, _SCRATCH_BYTES):
        codes = device.empty((m, width), "uint8")
        if projection.kind == "dense":
            _dense(rows, projection, device.NULL, codes)
            return codes
        for start, stop, rotated, thresholds in _rotated(rows, projection):
            words = (stop - start) * ceil(n_bits / 32)
            device.launch(
                device.kernel("pack_signs", "pack.cu", TYPE=TYPES[rotated.dtype.name]),
                ceil(words * 32 / _THREADS), _THREADS, rotated, np.int64(rotated.shape[1]), thresholds,
                np.int64(stop - start), np.int32(n_bits), np.int64(width), codes[start:stop],
            )  # fmt: skip
    return codes


def _dense(rows: Any, projection: Projection, z: Any, codes: Any) -> None:
    thresholds, matrix = _factors(projection, _kind(rows))
    m, n_bits = len(rows), len(thresholds)
    device.launch(
        device.kernel("project", ROW=TYPES[rows.dtype.name]), (ceil(m / _TILE), ceil(n_bits / _TILE)), 256,
        device.on_device(rows, rows.dtype), np.int64(m), np.int64(rows.shape[1]), matrix, thresholds,
        np.int32(n_bits), np.int64(ceil(n_bits / 8)), z, codes,
    )  # fmt: skip


def _rotated(rows: Any, projection: Projection) -> Iterator[tuple[int, int, Any, Any]]:
    """Parts of the rows: start, stop, R x of them in at least n_bits columns, and the thresholds."""
    if projection.kind == "identity":
        thresholds = _factors(projection, _kind(rows))[0]
        if len(rows):
            yield 0, len(rows), device.on_device(rows, rows.dtype), thresholds
        return
    rows = device.floats(rows)
    thresholds, signs = _factors(projection, rows.dtype)
    step = max(1, _SCRATCH_BYTES // (rows.dtype.itemsize * signs.shape[0] * signs.shape[2]))
    for start in range(0, len(rows), step):
        part = device.on_device(rows[start : start + step], rows.dtype)
        yield start, start + len(part), _hadamard(part, signs), thresholds


def _kind(rows: Any) -> np.dtype:
    return np.dtype("float64" if rows.dtype == np.float64 else "float32")


def _hadamard(rows: Any, signs: Any) -> Any:
    blocks, rounds, width = signs.shape
    z = device.empty((len(rows), blocks * width), rows.dtype)
    row_bytes = width * rows.dtype.itemsize
    staged = row_bytes <= _STAGED_BYTES
    function = device.kernel("rotate", TYPE=TYPES[rows.dtype.name], STAGED=int(staged))
    device.launch(
        function, len(rows) * blocks, min(256, max(32, width // 2)), rows, np.int64(rows.shape[1]), signs,
        np.int32(blocks), np.int32(rounds), np.int64(width), z, shared=row_bytes if staged else 0,
    )  # fmt: skip
    return z


def _factors(projection: Projection, dtype: np.dtype) -> tuple[Any, ...]:
    """Thresholds and rotation on the device, copied there once for each dtype."""
    key = "cupy", device.number(), dtype
    if key not in projection.cache:
        factors = [projection.thresholds]
        if projection.kind == "dense":
            assert projection.matrix is not None
            factors.append(projection.matrix)
        elif projection.kind == "hadamard":
            assert projection.signs is not None
            factors.append(projection.signs / np.sqrt(projection.signs.shape[2]))  # the orthonormal transform
        projection.cache[key] = tuple(device.upload(np.ascontiguousarray(f, dtype=dtype)) for f in factors)
    return projection.cache[key]
