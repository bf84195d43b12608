"""NumPy arrays among the ranks of a torch.distributed group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import distributed


class Ranks:
    """The ranks of a group, which all have to make the same calls in the same order."""

    def __init__(self, group: Any = None) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            raise RuntimeError("torch.distributed is not initialised; call torch.distributed.init_process_group first")
        self._group = group
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self._device = "cuda" if distributed.get_backend(group) == "nccl" else "cpu"

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """The arrays (m, ...) of all ranks, in rank order; only m may differ."""
        sizes = [int(size) for size in self._gathered(torch.tensor([len(values)]))]
        row = values.shape[1:]
        padded = np.zeros((max(sizes), *row), values.dtype)
        padded[: len(values)] = values
        if not padded.size:
            return [padded] * self.size
        as_bytes = torch.from_numpy(padded.reshape(len(padded), -1).view(np.uint8))  # some backends lack some dtypes
        parts = self._gathered(as_bytes)
        return [
            part.numpy().view(values.dtype).reshape(padded.shape)[:size]
            for part, size in zip(parts, sizes, strict=True)
        ]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all ranks of arrays of one shape."""
        tensor = torch.from_numpy(values.copy()).to(self._device)
        distributed.all_reduce(tensor, group=self._group)
        return tensor.cpu().numpy()

    def blocks_of_all(self, own: Iterator[np.ndarray], width: int) -> Iterator[np.ndarray]:
        """The float16 blocks (m, width) of rank 0, then those of rank 1, and so on, on every rank."""
        nothing = np.empty((0, width), np.float16)
        for turn in range(self.size):
            while True:
                mine = next(own, nothing) if turn == self.rank else nothing
                block = self.gather(mine)[turn]
                if not len(block):
                    break
                yield block

    def agree(self, error: Exception | None, width: int) -> None:
        """Raise on every rank if one has an error or another width: none may wait for a rank that has left."""
        flags = [flag.tolist() for flag in self._gathered(torch.tensor([int(error is not None), width]))]
        failed = [rank for rank, (refused, _) in enumerate(flags) if refused]
        if error is not None:
            raise error
        if failed:
            raise RuntimeError(f"rank {failed[0]} refused its arguments, so this rank stops too; nothing was changed")
        if len({width for _, width in flags}) > 1:
            raise ValueError(f"embeddings differ in width between ranks: {[width for _, width in flags]} bytes a row")

    def _gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        own = tensor.to(self._device)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own, group=self._group)
        return [part.cpu() for part in parts]
