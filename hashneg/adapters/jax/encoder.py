"""A fitted quantizer as a pytree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from hashneg.adapters.jax import inputs
from hashneg.adapters.jax.operators import pack_signs
from hashneg.adapters.rotation import dense_rotation
from hashneg.quantize import BinaryQuantizer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Encoder:
    """A fitted quantizer as a pure function: embeddings in, packed codes out.

    It is a pytree, an argument of jitted functions like any other.

    Attributes
    ----------
    rotation : float (n_bits, d)
        float32, or float64 under ``jax_enable_x64``.
    thresholds : float (n_bits,)

    Notes
    -----
    The codes are those of ``quantizer.encode`` but for bits that lie within rounding of their threshold: up to
    ``4 (d + 2) u (|R_i| |x| + |c_i|)``, u = 2**-24, or 2**-53 for float64 input.

    Examples
    --------
    >>> import jax, hashneg as hn
    >>> from hashneg.adapters.jax import Encoder
    >>> x = jax.random.normal(jax.random.key(0), (100, 16))
    >>> encode = Encoder.of(hn.BinaryQuantizer(32).fit(x))
    >>> jax.jit(lambda encode, x: encode(x))(encode, x).shape
    (100, 4)
    """

    rotation: Any
    thresholds: Any

    @classmethod
    def of(cls, quantizer: BinaryQuantizer) -> Encoder:
        """The encoder of a fitted quantizer; NotFittedError if it is not."""
        rotation, thresholds = dense_rotation(quantizer)
        return cls(jnp.asarray(rotation), jnp.asarray(thresholds))

    @property
    def n_bits(self) -> int:
        return self.rotation.shape[0]

    def project(self, x: Any) -> jax.Array:
        """R x - c, (..., n_bits), float32 or for float64 input float64; with a gradient."""
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating) or x.ndim == 0 or x.shape[-1] != self.rotation.shape[1]:
            raise ValueError(f"x must be a float array (..., {self.rotation.shape[1]}), got {inputs.describe(x)}")
        dtype = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
        rotated = jnp.matmul(x.astype(dtype), self.rotation.astype(dtype).T, precision=lax.Precision.HIGHEST)
        return rotated - self.thresholds.astype(dtype)

    def __call__(self, x: Any) -> jax.Array:
        """Codes, uint8 (..., ceil(n_bits / 8)), of embeddings (..., d)."""
        return pack_signs(self.project(x))
