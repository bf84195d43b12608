"""A fitted quantizer as a module."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hashneg.adapters.rotation import dense_rotation
from hashneg.adapters.tensorflow import inputs
from hashneg.adapters.tensorflow.operators import pack_signs
from hashneg.quantize import BinaryQuantizer


class Encoder(tf.Module):
    """A fitted quantizer as the last step of a model: embeddings in, packed codes out.

    Parameters
    ----------
    quantizer : BinaryQuantizer
        Fitted. Its rotation and thresholds become variables that are not trained, which checkpoints save.

    Attributes
    ----------
    n_bits : int
    rotation : float64 (n_bits, d)
    thresholds : float64 (n_bits,)

    Notes
    -----
    The codes are those of ``quantizer.encode`` but for bits that lie within rounding of their threshold: up to
    ``4 (d + 2) u (|R_i| |x| + |c_i|)``, u = 2**-24, or 2**-53 for float64 input. The product is taken in float64, since
    TensorFlow may multiply float32 matrices in TF32 on a GPU.

    Examples
    --------
    >>> import tensorflow as tf, hashneg as hn
    >>> from hashneg.adapters.tensorflow import Encoder
    >>> x = tf.random.stateless_normal((100, 16), seed=(0, 0))
    >>> encode = Encoder(hn.BinaryQuantizer(32).fit(x))
    >>> encode(x).shape.as_list()
    [100, 4]
    """

    def __init__(self, quantizer: BinaryQuantizer) -> None:
        super().__init__()
        rotation, thresholds = dense_rotation(quantizer)
        self.n_bits = quantizer.n_bits
        self.rotation = tf.Variable(rotation, trainable=False)
        self.thresholds = tf.Variable(thresholds, trainable=False)

    def project(self, x: Any) -> tf.Tensor:
        """R x - c, (n, n_bits), float32 or for float64 input float64; with a gradient."""
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating or not x.shape.is_compatible_with([None, self.rotation.shape[1]]):
            raise ValueError(f"x must be a float tensor (n, {self.rotation.shape[1]}), got {inputs.describe(x)}")
        z = tf.matmul(tf.cast(x, tf.float64), self.rotation, transpose_b=True) - self.thresholds
        return z if x.dtype == tf.float64 else tf.cast(z, tf.float32)

    def __call__(self, x: Any) -> tf.Tensor:
        """Codes, uint8 (n, ceil(n_bits / 8)), of embeddings (n, d)."""
        return pack_signs(self.project(x))
