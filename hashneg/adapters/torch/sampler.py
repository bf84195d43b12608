"""Hard batches for a DataLoader, on one rank or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed

from hashneg import checks
from hashneg.batches import HardBatchSampler

SPLITS = ("within", "across")


class BatchSampler(torch.utils.data.Sampler):
    """The `batch_sampler` of a DataLoader, from a `HardBatchSampler`.

    Parameters
    ----------
    sampler : HardBatchSampler
        Equal on all ranks. Its `neighbours` may be replaced between epochs: persistent workers get ids from the main
        process, and so the new batches.
    rank, world_size : int, optional
        Those of torch.distributed where it is initialised, else one rank.
    split : {"within", "across"}
        "within": a rank takes its share of each batch, for losses that gather embeddings from all ranks;
        `batch_size` must be divisible by `world_size`. "across": a rank takes every world_size-th batch whole. Batches
        left over after the last full round are not used.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above.

    Examples
    --------
    >>> import torch, hashneg as hn
    >>> from hashneg.adapters.torch import BatchSampler
    >>> neighbours = torch.arange(100).roll(-1)[:, None]
    >>> batches = BatchSampler(hn.HardBatchSampler(neighbours, 10))
    >>> data = torch.utils.data.TensorDataset(torch.arange(100))
    >>> loader = torch.utils.data.DataLoader(data, batch_sampler=batches)
    >>> for epoch in range(2):
    ...     batches.set_epoch(epoch)
    ...     for (ids,) in loader:
    ...         pass
    >>> len(loader), ids.shape
    (10, torch.Size([10]))
    """

    drop_last = True  # what trainers ask batch samplers for

    def __init__(
        self,
        sampler: HardBatchSampler,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        split: str = "within",
    ) -> None:
        if not isinstance(sampler, HardBatchSampler):
            raise TypeError(f"sampler must be a HardBatchSampler, got {type(sampler).__name__}")
        started = distributed.is_available() and distributed.is_initialized()
        if world_size is None:
            world_size = distributed.get_world_size() if started else 1
        if rank is None:
            rank = distributed.get_rank() if started else 0
        self.world_size = checks.integer(world_size, "world_size", minimum=1)
        self.rank = checks.integer(rank, "rank", minimum=0)
        if self.rank >= self.world_size:
            raise ValueError(f"rank must be below world_size={self.world_size}, got {self.rank}")
        self.split = checks.choice(split, "split", SPLITS)
        if split == "within" and sampler.batch_size % self.world_size:
            raise ValueError(
                f"split='within' shares out a batch, so batch_size={sampler.batch_size} must be divisible by "
                f"world_size={self.world_size}"
            )
        self.sampler = sampler

    @property
    def batch_size(self) -> int:
        """Ids of a batch on this rank."""
        return self.sampler.batch_size // (self.world_size if self.split == "within" else 1)

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler) // (1 if self.split == "within" else self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        if self.split == "within":
            size = self.batch_size
            return (ids[self.rank * size :][:size].tolist() for ids in iter(self.sampler))
        return self._whole_batches()

    def _whole_batches(self) -> Iterator[list[int]]:
        round_: list[Any] = []
        for ids in self.sampler:
            round_.append(ids)
            if len(round_) == self.world_size:
                yield round_[self.rank].tolist()
                round_.clear()

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """As that of the HardBatchSampler, `position` counting batches of this rank."""
        if position is not None and self.split == "across":
            position *= self.world_size
        return self.sampler.state_dict(position)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state_dict)
