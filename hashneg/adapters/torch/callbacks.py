"""Mining between epochs, called by the trainers of Hugging Face and Lightning."""

from __future__ import annotations

from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Any

from hashneg import checks
from hashneg.adapters.torch import checkpoints
from hashneg.batches import HardBatchSampler
from hashneg.table import CodeTable

_FILE = "hashneg.pt"


class MiningLoop:
    """What has to happen around an epoch: set it, and mine neighbours for the next one.

    The training step itself calls ``table.update(ids, embeddings)``.

    Parameters
    ----------
    table : CodeTable
    sampler : HardBatchSampler
    k : int
        Neighbours mined for each row.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> from hashneg.adapters.torch import MiningLoop
    >>> table = hn.CodeTable(100, 32, mode="epoch")
    >>> sampler = hn.HardBatchSampler(np.full((100, 1), -1), 10)
    >>> loop = MiningLoop(table, sampler, k=8)
    >>> x = np.random.default_rng(0).standard_normal((100, 16))
    >>> for epoch in range(2):
    ...     loop.start_epoch(epoch)
    ...     for ids in sampler:
    ...         table.update(ids, x[ids])
    ...     loop.end_epoch()
    >>> sampler.neighbours.shape
    (100, 8)
    """

    def __init__(self, table: CodeTable, sampler: HardBatchSampler, k: int = 128) -> None:
        if table.n != sampler.n:
            raise ValueError(f"table has {table.n} rows, but sampler has {sampler.n} ids")
        self.table, self.sampler = table, sampler
        self.k = checks.integer(k, "k", minimum=1)

    def start_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def end_epoch(self) -> None:
        """Rebuild codes in mode "epoch", and give the sampler the neighbours that they have now."""
        if self.table.mode == "epoch":
            self.table.refresh()
        self.sampler.renew(self.table, self.k)

    def state_dict(self) -> dict[str, Any]:
        """Of table and sampler. Trainers skip the batches of a broken epoch themselves: the sampler starts it anew."""
        return {"table": self.table.state_dict(), "sampler": self.sampler.state_dict(position=0)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        copy(self.sampler).load_state_dict(state_dict["sampler"])  # raises before anything has changed
        self.table.load_state_dict(state_dict["table"])
        self.sampler.renew(self.table, self.k)  # for the next epoch; the state brings the batches of its own
        self.sampler.load_state_dict(state_dict["sampler"])


def hugging_face_callback(loop: MiningLoop) -> Any:
    """A TrainerCallback that mines between epochs, and saves and loads the loop with the trainer's checkpoints.

    Parameters
    ----------
    loop : MiningLoop

    Returns
    -------
    transformers.TrainerCallback
        Where transformers is not installed, an object with the same methods.
    """

    class MiningCallback(_base("transformers", "TrainerCallback")):  # type: ignore[misc]
        """Calls a MiningLoop."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            path = _checkpoint(args, state)
            if state.global_step > 0 and path.is_file():
                loop.load_state_dict(checkpoints.load(path))

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            loop.start_epoch(int(state.epoch or 0))

        def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            loop.end_epoch()

        def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.is_world_process_zero:
                checkpoints.save(_checkpoint(args, state), **loop.state_dict())

    return MiningCallback()


def lightning_callback(loop: MiningLoop) -> Any:
    """A Lightning Callback that mines between epochs; its state is the loop's, in Lightning's checkpoints.

    Parameters
    ----------
    loop : MiningLoop

    Returns
    -------
    lightning.pytorch.Callback
        Where Lightning is not installed, an object with the same methods.
    """

    class MiningCallback(_base("lightning.pytorch", "Callback", "pytorch_lightning", "Callback")):  # type: ignore[misc]
        """Calls a MiningLoop."""

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            loop.start_epoch(trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            loop.end_epoch()

        def state_dict(self) -> dict[str, Any]:
            return checkpoints.tensors(loop.state_dict())

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            loop.load_state_dict(state_dict)

    return MiningCallback()


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / _FILE


def _base(*candidates: str) -> type:
    """The first of (module, class) that is installed, else object."""
    for module, name in zip(candidates[::2], candidates[1::2], strict=True):
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    return object
