"""Packing and exact search in TensorFlow's own operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg import checks
from hashneg.adapters.tensorflow import inputs
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.hamming import TopK
from hashneg.hamming.search import METRICS

_QUERIES = 256  # compared at a time with
_ROWS = 4096  # rows of the database, or with long codes
_WORDS = 1 << 22  # as many as have this many words between them and the queries


def pack_signs(x: Any) -> tf.Tensor:
    """Pack signs: bit i is 1 where ``x[..., i] >= 0``, the low bit of a byte first.

    Parameters
    ----------
    x : tensor, float or signed integer (..., n_bits)
        NaN is packed as 0: values are not checked, so that the function can be traced.

    Returns
    -------
    tensor, uint8 (..., ceil(n_bits / 8))
        It has no gradient.

    Raises
    ------
    TypeError
        If `x` is of a bool or unsigned dtype, where every value is >= 0.
    ValueError
        If n_bits is not known.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from hashneg.adapters.tensorflow import pack_signs
    >>> pack_signs(tf.constant([[1.0, -1.0, 0.5]])).numpy().tolist()
    [[5]]
    """
    x = tf.convert_to_tensor(x)
    if not (x.dtype.is_floating or (x.dtype.is_integer and not x.dtype.is_unsigned)):
        raise TypeError(f"x must be of a signed dtype, got {inputs.describe(x)}")
    if x.shape.rank in (None, 0) or not x.shape[-1]:
        raise ValueError(f"x must have shape (..., n_bits) with a known n_bits > 0, got {inputs.describe(x)}")
    bits = tf.cast(x >= tf.zeros((), x.dtype), tf.uint8)
    bits = tf.pad(bits, [[0, 0]] * (x.shape.rank - 1) + [[0, -x.shape[-1] % 8]])
    in_bytes = tf.reshape(bits, tf.concat([tf.shape(x)[:-1], [bits.shape[-1] // 8, 8]], 0))
    return tf.reduce_sum(in_bytes * tf.constant([1 << place for place in range(8)], tf.uint8), axis=-1)


def hamming_topk(
    queries: Any,
    database: Any,
    k: int,
    *,
    n_bits: int | None = None,
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    max_distance: Any = None,
    metric: str = "hamming",
) -> TopK:
    """The k nearest database rows of every query, in TensorFlow's own operations; see `hashneg.hamming_topk`.

    Parameters
    ----------
    queries, database : tensor, uint8 (nq, width), (n, width)
        Bits beyond `n_bits` are ignored. nq and n need not be known when a function is traced.
    k : int
    n_bits : int, optional
        8 x width by default.
    query_ids, query_labels, database_labels, exclude, allow, max_distance, metric
        As in `hashneg.hamming_topk`. An id that is no row of the database excludes nothing.

    Returns
    -------
    TopK
        distances int32 (nq, k) and indices int64 (nq, k), sorted by (distance, index) and padded with 2**31 - 1 and -1.

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit.

    Notes
    -----
    Rows are compared in tiles of 256 queries and up to 4096 rows, so that memory does not grow with nq x n. The search
    is compiled by XLA once for every shape. The arrays are those of `hashneg.hamming_topk`, bit for bit.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from hashneg.adapters.tensorflow import hamming_topk, pack_signs
    >>> codes = pack_signs(tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))
    >>> hamming_topk(codes, codes, 1, n_bits=2, query_ids=tf.range(3)).indices.numpy().T.tolist()
    [[1, 0, 1]]
    """
    k = checks.integer(k, "k", minimum=1)
    checks.choice(metric, "metric", METRICS)
    queries, database = tf.convert_to_tensor(queries), tf.convert_to_tensor(database)
    if n_bits is None:
        if queries.shape.rank != 2 or not queries.shape[1]:
            raise ValueError(f"queries must have shape (nq, width) with width > 0, got {inputs.describe(queries)}")
        n_bits = 8 * queries.shape[1]
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    queries, database = inputs.codes(queries, "queries", n_bits), inputs.codes(database, "database", n_bits)
    nq, n = queries.shape[0], database.shape[0]
    own, labels = inputs.labels(query_labels, database_labels, nq, n)
    listed = [] if exclude is None else [inputs.integers(exclude, "exclude", (nq, None))]
    if query_ids is not None:
        listed.append(inputs.integers(query_ids, "query_ids", (nq,))[:, None])
    allow = inputs.mask(allow, nq, n)
    shared = allow is not None and allow.shape.rank == 1
    limit = tf.constant(n_bits) if max_distance is None else tf.minimum(tf.cast(max_distance, tf.int32), n_bits)
    of_queries = {"words": _words(queries), "labels": own, "hidden": tf.concat(listed, 1) if listed else None,
                  "allow": None if shared else allow}  # fmt: skip
    of_rows = {"words": _words(database), "labels": labels, "allow": allow if shared else None}
    return TopK(*_search(_given(of_queries), _given(of_rows), limit, k, n_bits, metric))


@tf.function(jit_compile=True, reduce_retracing=True)
def _search(
    of_queries: dict[str, Any], of_rows: dict[str, Any], limit: Any, k: int, n_bits: int, metric: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Tile by tile of the queries, scan the blocks of the database and merge each into the best so far."""
    n, nq = tf.shape(of_rows["words"])[0], tf.shape(of_queries["words"])[0]
    most = max(8, min(_ROWS, _WORDS // (_QUERIES * of_rows["words"].shape[1])) // 8 * 8)  # packed masks: whole bytes
    rows = tf.clip_by_value((n + 7) // 8 * 8, 8, most)
    tile = tf.clip_by_value(nq, 1, _QUERIES)
    # Floats hold these integers exactly, and XLA selects the best of floats many times faster on a CPU.
    number = tf.float32 if n_bits < 2**24 - 1 else tf.int32
    far = tf.constant(n_bits + 1, number)  # farther than any row: not allowed, or none
    blocks = {name: _cut(x, rows // 8 if x.dtype == tf.uint8 else rows) for name, x in of_rows.items()}

    def merge(part: dict[str, Any], number_of_block: Any, best: Any, found: Any) -> tuple[Any, Any, Any]:
        """Of one tile of queries and one block of rows."""
        block = {name: x[number_of_block] for name, x in blocks.items()}
        code, words = part["words"][:, None], block["words"]
        differing = code ^ words if metric == "hamming" else tf.bitwise.bitwise_and(code, tf.bitwise.invert(words))
        distance = tf.reduce_sum(tf.cast(tf.raw_ops.PopulationCount(x=differing), number), axis=-1)
        start = tf.cast(number_of_block * rows, tf.int64)
        ids = start + tf.range(tf.cast(rows, tf.int64))
        allowed = (ids < tf.cast(n, tf.int64)) & (distance <= tf.cast(limit, number))
        if "allow" in block:
            allowed &= _bools(block["allow"])
        if "allow" in part:
            allowed &= _bools(tf.transpose(part["allow"][number_of_block]))
        if "labels" in part:
            allowed &= part["labels"][:, None] != block["labels"]
        key = tf.where(allowed, distance, far)
        if "hidden" in part:
            key = _hide(key, part["hidden"] - start, far)
        keys = tf.concat([best, key], 1)
        ids = tf.concat([found, tf.broadcast_to(ids, tf.shape(key, tf.int64))], 1)
        nearer, order = tf.math.top_k(-keys, k)  # equal keys stay in order, which is that of the rows
        return number_of_block + 1, -nearer, tf.gather(ids, order, batch_dims=1)

    def nearest(part: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        if "allow" in part:  # cut by rows of the database, like what all queries share
            columns = tf.transpose(part["allow"])
            part = part | {"allow": _cut(columns, rows // 8 if columns.dtype == tf.uint8 else rows)}
        none = tf.fill([tile, k], far), tf.fill([tile, k], tf.constant(NO_INDEX, tf.int64))
        _, best, found = tf.while_loop(
            lambda block, *_: block * rows < n, lambda block, *best: merge(part, block, *best), (0, *none),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, k]), tf.TensorShape([None, k])),
        )  # fmt: skip
        missing = best > tf.cast(n_bits, number)
        no_index = tf.constant(NO_INDEX, tf.int64)
        return tf.where(missing, NO_DISTANCE, tf.cast(best, tf.int32)), tf.where(missing, no_index, found)

    tiles = {name: _cut(x, tile) for name, x in of_queries.items()}
    distances, indices = tf.map_fn(nearest, tiles, fn_output_signature=(tf.int32, tf.int64))
    return tf.reshape(distances, [-1, k])[:nq], tf.reshape(indices, [-1, k])[:nq]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in values.items() if x is not None}


def _words(codes: tf.Tensor) -> tf.Tensor:
    """The same bits as int64 (n, words)."""
    padded = tf.pad(codes, [[0, 0], [0, -codes.shape[1] % 8]])
    return tf.bitcast(tf.reshape(padded, [tf.shape(codes)[0], padded.shape[1] // 8, 8]), tf.int64)


def _cut(x: tf.Tensor, size: Any) -> tf.Tensor:
    """Cut the rows of x into blocks of `size`, at least one, padding the last with zeros."""
    length = tf.shape(x)[0]
    blocks = tf.maximum(1, -(-length // size))
    padded = tf.pad(x, [[0, blocks * size - length]] + [[0, 0]] * (x.shape.rank - 1))
    return tf.reshape(padded, tf.concat([[blocks, size], tf.shape(x)[1:]], 0))


def _bools(mask: tf.Tensor) -> tf.Tensor:
    """A mask as bool, packed ones unpacked along the last axis."""
    if mask.dtype == tf.bool:
        return mask
    places = tf.constant([1 << place for place in range(8)], tf.uint8)
    bits = tf.bitwise.bitwise_and(mask[..., None], places) > 0
    return tf.reshape(bits, tf.concat([tf.shape(mask)[:-1], [tf.shape(mask)[-1] * 8]], 0))


def _hide(key: tf.Tensor, places: tf.Tensor, far: tf.Tensor) -> tf.Tensor:
    """Set key[i, places[i, j]] to `far`, for all places within the row."""
    rows = tf.shape(key, tf.int64)[1]
    column = tf.where((places >= 0) & (places < rows), places, rows)  # one more, which is cut off again
    query = tf.broadcast_to(tf.range(tf.shape(places, tf.int64)[0])[:, None], tf.shape(places))
    wider = tf.pad(key, [[0, 0], [0, 1]])
    target = tf.reshape(tf.stack([query, column], -1), [-1, 2])
    return tf.tensor_scatter_nd_update(wider, target, tf.fill([tf.shape(target)[0]], far))[:, :-1]
