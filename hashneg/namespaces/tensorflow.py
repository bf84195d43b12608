"""The functions of the array API that hashneg uses, for TensorFlow, which has no such namespace.

Names, arguments and meaning are the standard's. Imported when a TensorFlow tensor arrives, and not before.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

float32, float64, int32, bool = tf.float32, tf.float64, tf.int32, tf.bool

abs, exp, log, log1p, expm1 = tf.abs, tf.exp, tf.math.log, tf.math.log1p, tf.math.expm1
sqrt, tanh, atan, sign = tf.sqrt, tf.tanh, tf.atan, tf.sign
maximum, minimum, logical_not = tf.maximum, tf.minimum, tf.logical_not
ones_like, zeros_like = tf.ones_like, tf.zeros_like
matrix_transpose, broadcast_to, reshape = tf.linalg.matrix_transpose, tf.broadcast_to, tf.reshape


def asarray(values: Any, dtype: Any = None) -> Any:
    return tf.convert_to_tensor(values, dtype)


def astype(x: Any, dtype: Any, copy: Any = True) -> Any:
    return tf.cast(x, dtype)


def arange(n: Any) -> Any:
    return tf.range(n)


def where(condition: Any, x: Any, y: Any) -> Any:
    return tf.where(condition, x, y)


def full_like(x: Any, value: Any) -> Any:
    return tf.fill(tf.shape(x), tf.cast(value, x.dtype))


def concat(arrays: Any, axis: int = 0) -> Any:
    return tf.concat(arrays, axis)


def sum(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
    return tf.reduce_sum(x, axis, keepdims)


def mean(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
    return tf.reduce_mean(x, axis, keepdims)


def max(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
    return tf.reduce_max(x, axis, keepdims)


def min(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
    return tf.reduce_min(x, axis, keepdims)


def argmax(x: Any, axis: int) -> Any:
    return tf.argmax(x, axis)


def cumulative_sum(x: Any, axis: int) -> Any:
    return tf.cumsum(x, axis)


def expand_dims(x: Any, axis: int) -> Any:
    return tf.expand_dims(x, axis)


def flip(x: Any, axis: int) -> Any:
    return tf.reverse(x, [axis])


def argsort(x: Any, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:
    return tf.argsort(x, axis, "DESCENDING" if descending else "ASCENDING", stable)


def take(x: Any, indices: Any, axis: int) -> Any:
    return tf.gather(x, indices, axis=axis)


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """Along the last axis; the leading axes of `x` and `indices` are the same."""
    return tf.gather(x, indices, axis=axis, batch_dims=indices.shape.rank - 1)
