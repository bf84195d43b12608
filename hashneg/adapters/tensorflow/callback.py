"""Mining between the epochs of Keras's fit."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg import checks
from hashneg.batches import HardBatchSampler


class MiningCallback(tf.keras.callbacks.Callback):
    """A Keras 3 callback that sets the epoch of a sampler, and mines its neighbours anew after each.

    The training step itself calls ``table.update(ids, embeddings)``.

    Parameters
    ----------
    table : CodeTable
        Of this module, for compiled steps; or `hashneg.CodeTable`, for steps that run eagerly. One in mode "epoch" is
        refreshed before it is mined.
    sampler : HardBatchSampler
        Whose batches `dataset` gives to ``fit``.
    k : int
        Neighbours mined for each row.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> from hashneg.adapters.tensorflow import MiningCallback
    >>> x = np.random.default_rng(0).standard_normal((100, 16))
    >>> table = hn.CodeTable(100, hn.BinaryQuantizer(32).fit(x))
    >>> sampler = hn.HardBatchSampler(np.full((100, 1), -1), 10)
    >>> callback = MiningCallback(table, sampler, k=8)
    >>> callback.on_epoch_begin(0)
    >>> table.update(range(100), x)
    >>> callback.on_epoch_end(0)
    >>> sampler.neighbours.shape
    (100, 8)
    """

    def __init__(self, table: Any, sampler: HardBatchSampler, k: int = 128) -> None:
        super().__init__()
        if table.n != sampler.n:
            raise ValueError(f"table has {table.n} rows, but sampler has {sampler.n} ids")
        self.table, self.sampler = table, sampler
        self.k = checks.integer(k, "k", minimum=1)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Give the epoch's number to the sampler."""
        self.sampler.set_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Refresh a table of mode "epoch", and give the sampler the neighbours of all rows."""
        if getattr(self.table, "mode", "live") == "epoch":
            self.table.refresh()
        self.sampler.renew(self.table, self.k)
