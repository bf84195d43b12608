"""Codes on the device, in the forms that the scans read."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from hashneg.backends.cupy import device

THREADS = 128
_BLOCK_BITS = 256  # of one tensor core instruction
_OTHER_SHARED_BYTES = 2048 + 1024  # what scan_sliced and the driver take beside a tile
TILE_ROWS = 32  # that a warp counts at a time on the tensor core


@dataclass(frozen=True)
class Words:
    """Codes as 32-bit words, and how many ones each has.

    Attributes
    ----------
    words : uint32 (rows, row_words), zeros beyond the code; rows beyond the n codes hold anything
    ones : int32 (n,)
    """

    words: Any
    ones: Any

    def __len__(self) -> int:
        return len(self.ones)


def pack(codes: Any, row_words: int, rows: int = 0) -> Words:
    """Codes, uint8 (n, width), as words, with room for at least `rows` rows."""
    n, width = codes.shape
    words = device.empty((max(n, rows), row_words), "uint32")
    ones = device.empty((n,), "int32")
    device.launch(
        device.kernel("pack_rows", "rows.cu"), ceil(n / THREADS), THREADS, device.on_device(codes, "uint8"),
        np.int64(n), np.int64(width), np.int32(row_words), words, ones,
    )  # fmt: skip
    return Words(words, ones)


def on_tensor_core() -> bool:
    """Whether this device has the binary tensor core that counts ANDs: sm_80 to sm_90."""
    return 80 <= device.architecture(device.number()) <= 90


@dataclass
class TensorLayout:
    """Rows for `scan_mma`.

    Attributes
    ----------
    packed : Words, whose rows are padded to 256 bits
    alive : uint8 (n,) or None
    blocks : clusters.Blocks, which the rows are in the order of; None for the order of their numbers
    tiles : int, of `TILE_ROWS` rows
    """

    packed: Words
    alive: Any
    n_bits: int
    blocks: Any = None

    def __post_init__(self) -> None:
        self._starts: dict[bool, Any] = {}

    @classmethod
    def of(cls, codes: Any, n_bits: int, alive: Any) -> TensorLayout:
        n_blocks = ceil(n_bits / _BLOCK_BITS)
        rows = ceil(len(codes) / TILE_ROWS) * TILE_ROWS
        return cls(pack(codes, 8 * n_blocks, rows), alive, n_bits)

    tile_rows = TILE_ROWS

    @staticmethod
    def row_bytes(n_bits: int) -> int:
        """Bytes of a row, at most: its words and ones, and starts for both metrics."""
        return 32 * ceil(n_bits / _BLOCK_BITS) + 4 + 16

    @property
    def tiles(self) -> int:
        return ceil(len(self.packed) / TILE_ROWS)

    def starts(self, projected: bool) -> Any:
        """What the accumulators start at, int32 (2 * tiles * TILE_ROWS,): each pair of rows twice."""
        if projected not in self._starts:
            padded = self.tiles * TILE_ROWS
            starts = device.empty((2 * padded,), "int32")
            device.launch(
                device.kernel("start_rows", "rows.cu"), ceil(padded / THREADS), THREADS, self.packed.ones,
                device.NULL if self.alive is None else self.alive, np.int64(len(self.packed)), np.int64(padded),
                np.int32(projected), starts,
            )  # fmt: skip
            self._starts[projected] = starts
        return self._starts[projected]


@dataclass
class SlicedLayout:
    """Bit planes for `scan_sliced`.

    Attributes
    ----------
    planes : uint32 (tiles, n_bits + 2 + counter_planes, 32 * lane_words)
    ones : int32 (n,)
    lane_words : 32-bit words that a lane holds of a plane
    counter_planes : bits of a counter
    staged_bytes : of a tile in shared memory; 0 where it does not fit
    blocks : as of a TensorLayout
    """

    planes: Any
    ones: Any
    n_bits: int
    lane_words: int
    counter_planes: int
    staged_bytes: int
    blocks: Any = None

    @property
    def tiles(self) -> int:
        return self.planes.shape[0]

    @property
    def tile_rows(self) -> int:
        return 1024 * self.lane_words

    @staticmethod
    def row_bytes(n_bits: int) -> int:
        """Bytes of a row while the layout is made, its planes of the words: both, and the ones."""
        return 4 * ceil(n_bits / 32) + ceil((n_bits + 2 + _counter_planes(n_bits)) / 8) + 4

    @property
    def plane_bytes(self) -> int:
        return 128 * self.lane_words

    @classmethod
    def of(cls, codes: Any, n_bits: int, alive: Any) -> SlicedLayout:
        counter_planes = _counter_planes(n_bits)
        tile_planes = n_bits + 2 + counter_planes
        shared = device.limit("MaxSharedMemoryPerBlockOptin", device.number()) - _OTHER_SHARED_BYTES
        lane_words = 2 if 256 * tile_planes <= shared else 1
        staged_bytes = 128 * lane_words * tile_planes
        packed = pack(codes, ceil(n_bits / 32))
        tiles = ceil(len(codes) / (1024 * lane_words))
        planes = device.empty((tiles, tile_planes, 32 * lane_words), "uint32")
        groups = tiles * 32 * lane_words
        device.launch(
            device.kernel("slice_rows", "rows.cu"), ceil(groups * 32 / THREADS), THREADS, packed.words, packed.ones,
            device.NULL if alive is None else alive, np.int64(len(codes)), np.int32(packed.words.shape[1]),
            np.int32(n_bits), np.int32(counter_planes), np.int32(lane_words), np.int64(groups), planes,
        )  # fmt: skip
        return cls(
            planes, packed.ones, n_bits, lane_words, counter_planes, staged_bytes if staged_bytes <= shared else 0
        )


Layout = TensorLayout | SlicedLayout


def layout_kind() -> type[TensorLayout] | type[SlicedLayout]:
    """The layout that the scan of this device reads."""
    return TensorLayout if on_tensor_core() else SlicedLayout


def _counter_planes(n_bits: int) -> int:
    return max(6, (n_bits + 1).bit_length())
