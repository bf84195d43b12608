"""Arguments of the JAX functions: shapes and dtypes are checked, values are not, since a tracer has none."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hashneg import arrays
from hashneg.codes import width_of


def index_dtype() -> np.dtype:
    """int64, or int32 where JAX has no int64."""
    return jax.dtypes.canonicalize_dtype(np.int64)


def describe(x: Any) -> str:
    return f"{type(x).__name__} of shape {tuple(jnp.shape(x))}, dtype {getattr(x, 'dtype', '?')}"


def codes(x: Any, name: str, n_bits: int) -> jax.Array:
    """uint8 (n, ceil(n_bits/8)), the bits beyond `n_bits` cleared."""
    x = jnp.asarray(x)
    if x.dtype != jnp.uint8:
        raise TypeError(f"{name} must be a uint8 array of packed codes, got {describe(x)}")
    if x.ndim != 2 or x.shape[1] != width_of(n_bits):
        raise ValueError(f"{name} must have shape (n, {width_of(n_bits)}) for n_bits={n_bits}, got {describe(x)}")
    return x if n_bits % 8 == 0 else x.at[:, -1].set(x[:, -1] & np.uint8((1 << n_bits % 8) - 1))


def integers(x: Any, name: str, shape: tuple[int | None, ...]) -> jax.Array:
    """An integer array of this shape, None for any length; a 64-bit number that JAX would cut off is refused."""
    if not isinstance(x, (jax.Array, jax.core.Tracer)):
        values = arrays.integers(x, name, shape)
        limits = np.iinfo(index_dtype())
        if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
            raise ValueError(f"{name} holds values that do not fit JAX's {limits.dtype}; set jax_enable_x64")
        return jnp.asarray(values, dtype=limits.dtype)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{name} must hold integers, got {describe(x)}")
    if x.ndim != len(shape) or any(s not in (None, v) for s, v in zip(shape, x.shape, strict=True)):
        wanted = tuple("m" if s is None else s for s in shape)
        raise ValueError(f"{name} must have shape {wanted}, got {describe(x)}")
    return x


def labels(query_labels: Any, database_labels: Any, n_queries: int, n_rows: int) -> tuple[Any, Any]:
    """Labels of both sides in one dtype that holds them, or two times None."""
    if (query_labels is None) != (database_labels is None):
        missing = "query_labels" if query_labels is None else "database_labels"
        raise ValueError(f"labels exclude only when both sides have them: {missing} is missing")
    if query_labels is None:
        return None, None
    own = integers(query_labels, "query_labels", (n_queries,))
    other = integers(database_labels, "database_labels", (n_rows,))
    common = np.promote_types(own.dtype, other.dtype)
    if common.kind == "f" or jax.dtypes.canonicalize_dtype(common) != common:
        raise TypeError(f"query_labels are {own.dtype}, database_labels {other.dtype}; give both in one dtype")
    return own.astype(common), other.astype(common)


def mask(allow: Any, n_queries: int, n_rows: int) -> jax.Array | None:
    """bool (n,) or (nq, n), or packed uint8 (..., ceil(n/8)); None stays None."""
    if allow is None:
        return None
    allow = jnp.asarray(allow)
    if allow.dtype not in (jnp.bool_, jnp.uint8):
        raise TypeError(f"allow must be bool, or uint8 packed low bit first, got {describe(allow)}")
    width = width_of(n_rows) if allow.dtype == jnp.uint8 else n_rows
    if allow.shape not in ((width,), (n_queries, width)):
        raise ValueError(f"allow must have shape ({width},) or ({n_queries}, {width}) for {n_rows} rows, "
                         f"got {describe(allow)}")  # fmt: skip
    return allow
