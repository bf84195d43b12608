"""The code table in variables, which compiled training steps write to."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg import checks
from hashneg.adapters.tensorflow import inputs
from hashneg.adapters.tensorflow.encoder import Encoder
from hashneg.adapters.tensorflow.operators import hamming_topk, pack_signs
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.codes import width_of
from hashneg.hamming import TopK
from hashneg.quantize import BinaryQuantizer


class CodeTable(tf.Module):
    """The codes of a whole training set in variables: `hashneg.CodeTable` in mode "live", for compiled steps.

    `update` and `mine` run eagerly, in ``tf.function`` and under ``jit_compile=True``; ``tf.train.Checkpoint`` saves
    and restores the table.

    Parameters
    ----------
    n : int
        Rows of the training set, at least 1; ids are 0 .. n-1.
    quantizer : BinaryQuantizer
        Fitted.
    labels : array, int (n,), optional
        Rows of a row's own label are never mined for it.

    Attributes
    ----------
    n, n_bits : int
    codes : variable, uint8 (n, ceil(n_bits / 8))
    versions : variable, int32 (n,)
        The version of the table from which the code of each row stems; 0 for no code.
    version : variable, int32 ()
        How often the table was written to.
    encoder : Encoder
    labels : int64 (n,) or None

    Notes
    -----
    An id that is no row finds nothing. An update with one raises InvalidArgumentError; under ``jit_compile=True``,
    where nothing can be raised, it is left out.

    Examples
    --------
    >>> import tensorflow as tf, hashneg as hn
    >>> from hashneg.adapters.tensorflow import CodeTable
    >>> x = tf.random.stateless_normal((1000, 32), seed=(0, 0))
    >>> table = CodeTable(1000, hn.BinaryQuantizer(64).fit(x))
    >>> step = tf.function(lambda ids, rows: table.update(ids, rows), jit_compile=True)
    >>> for ids in tf.reshape(tf.range(1000), (10, 100)):
    ...     step(ids, tf.gather(x, ids))
    >>> table.mine(tf.range(3), k=5).indices.shape.as_list()
    [3, 5]
    """

    def __init__(self, n: int, quantizer: BinaryQuantizer, *, labels: Any = None) -> None:
        super().__init__()
        self.n = checks.integer(n, "n", minimum=1)
        self.encoder = Encoder(quantizer)
        self.n_bits = self.encoder.n_bits
        self.labels = None if labels is None else inputs.integers(labels, "labels", (self.n,))
        self.codes = tf.Variable(tf.zeros((self.n, width_of(self.n_bits)), tf.uint8), trainable=False)
        self.versions = tf.Variable(tf.zeros(self.n, tf.int32), trainable=False)
        self.version = tf.Variable(0, trainable=False)

    def update(self, ids: Any, embeddings: Any) -> None:
        """Take in the embeddings (m, d) of a training step with its ids (m,). Of repeated ids the last wins."""
        codes = self.encoder(embeddings)
        ids = inputs.integers(ids, "ids", (codes.shape[0],))
        order = tf.argsort(ids, stable=True)
        last = tf.gather(order, tf.searchsorted(tf.gather(ids, order), ids, side="right") - 1)
        all_are_rows = tf.debugging.Assert(tf.reduce_all(self._rows(ids)[1]), ["ids must be rows 0 to n - 1", ids])
        with tf.control_dependencies([] if tf.executing_eagerly() else [all_are_rows]):
            # Repeated ids all write the code of the last one, since TensorFlow leaves their order open.
            self.codes.scatter_nd_update(ids[:, None], tf.gather(codes, last))
            self.versions.scatter_nd_update(ids[:, None], tf.fill(tf.shape(ids), self.version.assign_add(1)))

    def mine(self, ids: Any, k: int, *, exclude: Any = None, allow: Any = None, max_distance: Any = None) -> TopK:
        """The k nearest rows of the rows `ids`, int (m,), by their codes in the table.

        The row itself and those of its label are always excluded; `exclude`, `allow`, `max_distance` and what is
        returned are as in `hamming_topk`. Rows that have no code find nothing, and are not found.
        """
        rows, is_row = self._rows(ids)
        has_code = self.versions > 0
        allow = inputs.mask(allow, rows.shape[0], self.n)
        if allow is None:
            allow = has_code
        elif allow.dtype == tf.bool:
            allow &= has_code
        else:
            allow = tf.bitwise.bitwise_and(allow, pack_signs(tf.where(has_code, 1, -1)))
        found = hamming_topk(
            tf.gather(self.codes, rows), self.codes, k, n_bits=self.n_bits, query_ids=rows, exclude=exclude,
            allow=allow, query_labels=None if self.labels is None else tf.gather(self.labels, rows),
            database_labels=self.labels, max_distance=max_distance,
        )  # fmt: skip
        known = (is_row & tf.gather(has_code, rows))[:, None]
        no_index = tf.constant(NO_INDEX, tf.int64)
        return TopK(tf.where(known, found.distances, NO_DISTANCE), tf.where(known, found.indices, no_index))

    def ages(self, ids: Any = None) -> tf.Tensor:
        """How many versions old the codes of the rows `ids` (default all) are; -1 for no code."""
        rows, is_row = self._rows(tf.range(self.n) if ids is None else ids)
        stamps = tf.gather(self.versions, rows)
        return tf.where(is_row & (stamps > 0), self.version - stamps, -1)

    def _rows(self, ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows, with 0 for every id that is none, and which ids are rows."""
        ids = inputs.integers(ids, "ids", (None,))
        is_row = (ids >= 0) & (ids < self.n)
        return tf.where(is_row, ids, tf.zeros_like(ids)), is_row
