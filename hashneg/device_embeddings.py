"""Embeddings on a CUDA device: read block by block like those of the host, without leaving the device."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import reduce
from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays
from hashneg.arrays import FLOAT_DTYPES, SAFE_PEAK, Embeddings

_CHECKED_NUMBERS = 1 << 24  # at a time


class DeviceEmbeddings:
    """The rows of an (n, d) float matrix on a CUDA device; see `hashneg.arrays.Embeddings`.

    Values are not checked as blocks are read, but by `check_finite` or `finite_check`, once for all matrices of a call.

    Parameters
    ----------
    x : array on a CUDA device
        float16, bfloat16, float32 or float64.
    name : str
        The argument's name in error messages.

    Attributes
    ----------
    shape : (int, int)
    dtype : numpy dtype of the blocks: float64 for float64 input, else float32
    checked : bool, whether a check of the values was made
    """

    def __init__(self, x: Any, name: str) -> None:
        self.name = name
        self.normalized = self.checked = False
        self._rows = arrays.to_plain(x, name)
        self._bfloat16 = arrays.is_bfloat16(x)
        if not self._bfloat16 and self._rows.dtype.name not in FLOAT_DTYPES:
            raise TypeError(f"{name} must be one of {', '.join(FLOAT_DTYPES)}, got {arrays.describe(x)}")
        if self._rows.ndim != 2 or self._rows.shape[1] == 0:
            raise ValueError(f"{name} must have shape (n, d) with d > 0, got {arrays.describe(x)}")
        self.shape: tuple[int, int] = self._rows.shape
        self.dtype = np.dtype("float64" if self._rows.dtype == np.float64 else "float32")

    def __len__(self) -> int:
        return self.shape[0]

    def normalize(self) -> DeviceEmbeddings:
        """The same rows scaled to unit length, still read block by block."""
        other = copy(self)
        other.normalized = True
        return other

    def block(self, start: int, stop: int) -> Any:
        """Rows `start` to `stop` as a C-contiguous CuPy array of `dtype`."""
        rows = self._floats(self._rows[start:stop])
        return unit_rows(rows) if self.normalized else rows

    @property
    def stored(self) -> Any:
        """The CuPy array itself, of its own dtype; uint16 holding the bits of bfloat16."""
        return self._rows

    def take(self, ids: Any) -> Any:
        """The rows of `ids` (int64 on the device, each in 0..n-1) as given, of `dtype`, not checked."""
        return self._floats(self._rows[ids])

    def part(self, start: int, stop: int) -> DeviceEmbeddings:
        """Rows `start` to `stop`, in the same memory."""
        other = copy(self)
        other._rows = self._rows[start:stop]
        other.shape = other._rows.shape
        return other

    def blocks(self, rows: int) -> Iterator[tuple[int, Any]]:
        """Iterate over (start, block) in steps of `rows`."""
        for start in range(0, len(self), rows):
            yield start, self.block(start, min(start + rows, len(self)))

    def _floats(self, rows: Any) -> Any:
        if self._bfloat16:  # a bfloat16 is the upper half of a float32
            rows = (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return cuda_arrays.contiguous(rows, self.dtype)

    def finite_blocks(self) -> Iterator[tuple[int, Any]]:
        """Iterate over (start, which rows of the block hold neither NaN nor infinity)."""
        step = max(1, _CHECKED_NUMBERS // self.shape[1])
        for start in range(0, len(self), step):
            yield start, np.isfinite(self._floats(self._rows[start : start + step])).all(axis=1)


AnyEmbeddings = Embeddings | DeviceEmbeddings


def embeddings(x: Any, name: str, like: Any = None) -> AnyEmbeddings:
    """`hashneg.arrays.embeddings` for functions that also take a matrix of a CUDA device; one that passed is kept.

    `like` is another array of the call, and has to lie there, too.
    """
    there = isinstance(x, DeviceEmbeddings) or arrays.is_on_device(x)
    if like is not None and there != arrays.is_on_device(like):
        home = "the host" if there else "a CUDA device"
        raise RuntimeError(f"{name} is a {arrays.describe(x)}, but other arrays of the call lie on {home}; all arrays "
                           "of a call share one device")  # fmt: skip
    if isinstance(x, DeviceEmbeddings):
        return x
    return DeviceEmbeddings(x, name) if there else arrays.embeddings(x, name)


def check_finite(*matrices: AnyEmbeddings) -> None:
    """ValueError if a matrix of a device holds NaN or infinity; those of the host are checked as they are read."""
    checks.settle(finite_check(*matrices))


def finite_check(*matrices: AnyEmbeddings) -> checks.ValueCheck | None:
    """`check_finite`, to be settled with other checks of the call. Each matrix is checked once."""
    matrices = tuple({id(x): x for x in matrices}.values())  # anchors may be the corpus, too
    there = [x for x in matrices if isinstance(x, DeviceEmbeddings) and len(x) and not x.checked]
    if not (there and checks.values_are_checked()):
        return None

    def explain() -> None:
        for matrix in there:
            for start, finite in matrix.finite_blocks():
                rows = np.flatnonzero(~cuda_arrays.download(finite))
                if len(rows):
                    raise ValueError(f"{matrix.name} holds NaN or infinity, first in row {start + int(rows[0])}")

    for matrix in there:
        matrix.checked = True
    finite = reduce(np.logical_and, [block.all() for matrix in there for _, block in matrix.finite_blocks()])
    return checks.ValueCheck(np.logical_not(finite), explain)


def is_on_device(rows: AnyEmbeddings) -> bool:
    """Whether the rows lie on a CUDA device."""
    return isinstance(rows, DeviceEmbeddings)


def unit_rows(rows: Any) -> Any:
    """Scale rows to unit length in float64 arithmetic; rows of zeros stay zero. A row does not depend on the others."""
    wide = rows.astype(np.float64)
    if rows.dtype == np.float64:  # whose squares may overflow or vanish
        peak = np.abs(wide).max(axis=1, keepdims=True)
        extreme = (peak > SAFE_PEAK) | ((peak > 0) & (peak < 1 / SAFE_PEAK))
        wide = wide / np.where(extreme, peak, 1)
    length = np.sqrt(_row_sums(wide * wide))
    return (wide * (1 / np.where(length > 0, length, 1))).astype(rows.dtype)


def _row_sums(x: Any) -> Any:
    """The sum of each row, (m, 1), in the memory of `x`.

    One half is added to the other until one column is left: an order that, unlike a library's reduction, depends on
    the number of columns only.
    """
    while (width := x.shape[1]) > 1:
        half = -(-width // 2)
        x[:, : width - half] += x[:, half:]
        x = x[:, :half]
    return x
