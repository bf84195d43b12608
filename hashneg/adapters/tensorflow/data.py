"""The batches of a sampler as a tf.data pipeline."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg.batches import HardBatchSampler


def dataset(sampler: HardBatchSampler, data: Any = None) -> tf.data.Dataset:
    """The batches of a `HardBatchSampler` as a ``tf.data`` pipeline, for ``model.fit`` and loops of one's own.

    Parameters
    ----------
    sampler : HardBatchSampler
    data : tensor, or nested dicts and tuples of tensors, optional
        Of n rows each, in memory. Without it the ids are all there is: `map` may read rows by them.

    Returns
    -------
    tf.data.Dataset
        Of ids, int64 (batch_size,); with `data` of pairs (ids, rows of data).

    Raises
    ------
    TypeError
        If `sampler` is none.
    ValueError
        If `data` has another number of rows.

    Notes
    -----
    Each pass takes the batches that the sampler has when the pass begins, so that one pipeline serves all epochs.
    ``.skip(position)`` resumes within an epoch.

    Labels or positives may make the number of batches differ between epochs. The pipeline then has no cardinality, and
    Keras, which expects all epochs to be as long as the first, cuts longer ones off one batch later, and warns.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> from hashneg.adapters.tensorflow import dataset
    >>> sampler = hn.HardBatchSampler(np.full((100, 1), -1), 10)
    >>> batches = dataset(sampler, {"x": np.zeros((100, 3))})
    >>> for epoch in range(2):
    ...     sampler.set_epoch(epoch)
    ...     for ids, rows in batches:
    ...         pass
    >>> rows["x"].shape.as_list()
    [10, 3]
    """
    if not isinstance(sampler, HardBatchSampler):
        raise TypeError(f"sampler must be a HardBatchSampler, got {type(sampler).__name__}")
    ids = tf.TensorSpec((sampler.batch_size,), tf.int64)
    batches = tf.data.Dataset.from_generator(lambda: iter(sampler.batches), output_signature=ids)
    if sampler._labels is None and sampler._positives is None:  # then all epochs have as many batches
        batches = batches.apply(tf.data.experimental.assert_cardinality(sampler.n // sampler.batch_size))
    if data is not None:
        data = tf.nest.map_structure(tf.convert_to_tensor, data)
        for part in tf.nest.flatten(data):
            if part.shape.rank == 0 or part.shape[0] != sampler.n:
                raise ValueError(f"data must have {sampler.n} rows, as many as the sampler has ids; got {part.shape}")
        batches = batches.map(lambda ids: (ids, tf.nest.map_structure(lambda part: tf.gather(part, ids), data)))
    return batches.prefetch(tf.data.AUTOTUNE)
