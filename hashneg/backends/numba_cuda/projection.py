"""Rotate, subtract the thresholds, take signs and pack. Every number is one thread's sum, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.numba_cuda import device
from hashneg.backends.numba_cuda.device import cuda
from hashneg.backends.request import Projection

_TILE_BYTES = 256 << 20  # of rotated rows


def add_columns(total: np.ndarray, rows: Any) -> None:
    """Add `rows` to the float64 column sums `total` in place, row after row.

    The order of the additions is that of the rows, so chunking makes no difference.
    """
    with device.memory("a sum of rows", rows, 0, total.nbytes):
        sums = device.upload(total)
        device.launch(add_rows, len(total), device.view(rows), sums)
    total[:] = device.download(sums)


def project(rows: Any, projection: Projection) -> Any:
    """z = R x - thresholds of every row, (m, n_bits) in the dtype of `rows`."""
    n_bits = len(projection.thresholds)
    with device.memory("a projection", rows, rows.dtype.itemsize * n_bits, _TILE_BYTES):
        rows = device.view(rows)
        z = device.empty((len(rows), n_bits), rows.dtype)
        for part, rotated, thresholds in _rotated(rows, projection):
            device.launch(subtract, rotated.shape[0] * n_bits, rotated, thresholds, z[part])
    return device.result(z)


def encode(rows: Any, projection: Projection) -> Any:
    """Packed signs of `project`, uint8 (m, ceil(n_bits/8)), low bit first."""
    width = ceil(len(projection.thresholds) / 8)
    with device.memory("an encoding", rows, width, _TILE_BYTES):
        rows = device.view(rows)
        codes = device.empty((len(rows), width), "uint8")
        for part, rotated, thresholds in _rotated(rows, projection):
            device.launch(pack_signs, rotated.shape[0] * width, rotated, thresholds, codes[part])
    return device.result(codes)


def multiply(a: Any, b: Any, out: Any) -> None:
    """out = a b, for (m, d), (d, n) and (m, n) on the device, d > 0."""
    device.launch(dot_products, out.size, a, b, out)


def _rotated(rows: Any, projection: Projection) -> Iterator[tuple[slice, Any, Any]]:
    """Tiles of rows: which ones, R x of each in at least n_bits columns, and the thresholds."""
    thresholds, *factors = _factors(projection, rows.dtype)
    n_bits = len(projection.thresholds)
    signs = factors[0] if projection.kind == "hadamard" else None
    columns = n_bits if signs is None else signs.shape[0] * signs.shape[2]
    step = max(1, _TILE_BYTES // (rows.dtype.itemsize * columns))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        tile = rows[part]
        if projection.kind == "identity":
            yield part, tile, thresholds
            continue
        z = device.empty((tile.shape[0], columns), rows.dtype)
        if signs is None:
            multiply(tile, factors[0], z)
        else:
            device.launch_blocks(transform, tile.shape[0] * signs.shape[0], tile, signs, z)
        yield part, z, thresholds


def _factors(projection: Projection, dtype: np.dtype) -> tuple[Any, ...]:
    """Thresholds and rotation on the device, copied there once for each dtype."""
    key = "numba_cuda", device.number(), dtype
    if key not in projection.cache:
        factors = [projection.thresholds]
        if projection.kind == "dense":
            assert projection.matrix is not None
            factors.append(projection.matrix.T)  # threads side by side read numbers side by side
        elif projection.kind == "hadamard":
            assert projection.signs is not None
            factors.append(projection.signs / np.sqrt(projection.signs.shape[2]))  # the orthonormal transform
        projection.cache[key] = tuple(device.upload(factor.astype(dtype)) for factor in factors)
    return projection.cache[key]


@cuda.jit
def add_rows(rows, sums):
    column = cuda.grid(1)
    if column < sums.size:
        for row in range(rows.shape[0]):
            sums[column] += rows[row, column]


@cuda.jit
def dot_products(a, b, out):
    i = cuda.grid(1)
    if i < out.size:
        row, column = i // out.shape[1], i % out.shape[1]
        total = a[row, 0] * b[0, column]
        for t in range(1, a.shape[1]):
            total += a[row, t] * b[t, column]
        out[row, column] = total


@cuda.jit
def transform(rows, signs, z):
    """Three rounds of signs and Walsh-Hadamard transform; signs (blocks, rounds, D), z (m, blocks * D).

    A block of threads takes one row and one block of signs. Between two stages every thread waits for the others.
    """
    row, block = cuda.blockIdx.x // signs.shape[0], cuda.blockIdx.x % signs.shape[0]
    width = signs.shape[2]
    first = block * width
    for i in range(cuda.threadIdx.x, width, cuda.blockDim.x):
        z[row, first + i] = 0
        if i < rows.shape[1]:
            z[row, first + i] = rows[row, i]
    for r in range(signs.shape[1]):
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, width, cuda.blockDim.x):
            z[row, first + i] *= signs[block, r, i]
        half = 1
        while half < width:
            cuda.syncthreads()
            for pair in range(cuda.threadIdx.x, width // 2, cuda.blockDim.x):
                low = first + pair // half * 2 * half + pair % half
                a, b = z[row, low], z[row, low + half]
                z[row, low] = a + b
                z[row, low + half] = a - b
            half *= 2


@cuda.jit
def subtract(values, thresholds, out):
    i = cuda.grid(1)
    if i < out.size:
        row, bit = i // out.shape[1], i % out.shape[1]
        out[row, bit] = values[row, bit] - thresholds[bit]


@cuda.jit
def pack_signs(values, thresholds, codes):
    i = cuda.grid(1)
    if i >= codes.size:
        return
    row, byte = i // codes.shape[1], i % codes.shape[1]
    code = 0
    for bit in range(8 * byte, min(8 * byte + 8, thresholds.size)):
        if values[row, bit] - thresholds[bit] >= 0:
            code |= 1 << (bit - 8 * byte)
    codes[row, byte] = code
