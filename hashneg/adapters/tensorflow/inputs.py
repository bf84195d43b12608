"""Arguments of the TensorFlow functions: dtypes and known shapes are checked, values are not."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg.codes import width_of


def describe(x: Any) -> str:
    return f"tensor of shape {tuple(x.shape)}, dtype {x.dtype.name}"


def codes(x: Any, name: str, n_bits: int) -> tf.Tensor:
    """uint8 (n, ceil(n_bits/8)), the bits beyond `n_bits` cleared."""
    x = tf.convert_to_tensor(x)
    if x.dtype != tf.uint8:
        raise TypeError(f"{name} must be a uint8 tensor of packed codes, got {describe(x)}")
    width = width_of(n_bits)
    if not x.shape.is_compatible_with([None, width]):
        raise ValueError(f"{name} must have shape (n, {width}) for n_bits={n_bits}, got {describe(x)}")
    if n_bits % 8 == 0:
        return x
    return tf.bitwise.bitwise_and(x, tf.constant([255] * (width - 1) + [(1 << n_bits % 8) - 1], tf.uint8))


def integers(x: Any, name: str, shape: tuple[int | None, ...]) -> tf.Tensor:
    """An int64 tensor of this shape, None for any length."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer and not (x.dtype.is_floating and 0 in x.shape):  # an empty list is float32
        raise TypeError(f"{name} must hold integers, got {describe(x)}")
    if not x.shape.is_compatible_with(shape):
        wanted = tuple("m" if s is None else s for s in shape)
        raise ValueError(f"{name} must have shape {wanted}, got {describe(x)}")
    return tf.cast(x, tf.int64)


def labels(query_labels: Any, database_labels: Any, n_queries: int | None, n_rows: int | None) -> tuple[Any, Any]:
    """Labels of both sides, int64, or two times None."""
    if (query_labels is None) != (database_labels is None):
        missing = "query_labels" if query_labels is None else "database_labels"
        raise ValueError(f"labels exclude only when both sides have them: {missing} is missing")
    if query_labels is None:
        return None, None
    own = integers(query_labels, "query_labels", (n_queries,))
    return own, integers(database_labels, "database_labels", (n_rows,))


def mask(allow: Any, n_queries: int | None, n_rows: int | None) -> tf.Tensor | None:
    """bool (n,) or (nq, n), or packed uint8 (..., ceil(n/8)); None stays None."""
    if allow is None:
        return None
    allow = tf.convert_to_tensor(allow)
    if allow.dtype not in (tf.bool, tf.uint8):
        raise TypeError(f"allow must be bool, or uint8 packed low bit first, got {describe(allow)}")
    width = n_rows if allow.dtype == tf.bool or n_rows is None else width_of(n_rows)
    if not (allow.shape.is_compatible_with([width]) or allow.shape.is_compatible_with([n_queries, width])):
        raise ValueError(f"allow must have shape ({width},) or ({n_queries}, {width}) for {n_rows} rows, "
                         f"got {describe(allow)}")  # fmt: skip
    if allow.shape.rank is None:
        raise ValueError("allow is a tensor of unknown rank; give it one with tf.ensure_shape")
    return allow
