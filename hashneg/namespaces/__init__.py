"""One set of array functions for every framework, for what has to be differentiated and compiled.

`hashneg.arrays` reads arrays as NumPy; that ends a gradient. The losses, weights and soft sorts are instead written
against the Python array API standard, and `of` gives the namespace of the framework whose arrays came:
array-api-compat's for NumPy, PyTorch and CuPy, JAX's own, `hashneg.namespaces.tensorflow` for TensorFlow, which has
none. A framework is never imported here: whoever made the array has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

from hashneg.arrays import describe, framework_of

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def of(x: Any) -> Any:
    """The namespace of the framework of `x`."""
    framework = framework_of(x)
    # spelled out, since compilers trace import statements and not lookups by name
    if framework == "torch":
        import array_api_compat.torch

        return array_api_compat.torch
    if framework == "jax":
        import jax.numpy

        return jax.numpy
    if framework == "tensorflow":
        import hashneg.namespaces.tensorflow

        return hashneg.namespaces.tensorflow
    if framework == "numpy":
        import array_api_compat.numpy

        return array_api_compat.numpy
    if framework == "cupy":
        import array_api_compat.cupy

        return array_api_compat.cupy
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    raise TypeError(f"no array namespace is known for a {describe(x)}")


def dtype_name(x: Any) -> str:
    """ "float32" and so on, the same for every framework."""
    return str(getattr(x.dtype, "name", x.dtype)).rpartition(".")[2]


def floats(name: str, x: Any, *others: tuple[str, Any]) -> tuple[Any, ...]:
    """The namespace, then the arrays in their working precision: float64 for float64, else float32.

    16-bit numbers are widened because a logit of 1/0.01 keeps only one or two digits behind the point in them.
    Every array must hold floats and belong to the framework of the first; all come back in one dtype.

    Raises
    ------
    TypeError
        If one is no array, holds no floats, or is of another framework than `x`.
    """
    xp = _namespace(x, name)
    framework, named = framework_of(x), ((name, x), *others)
    for label, array in others:
        if framework_of(array) != framework:
            raise TypeError(f"{label} must be of the framework of {name}, {framework}; got {describe(array)}")
    for label, array in named:
        if dtype_name(array) not in _FLOATS:
            raise TypeError(f"{label} must hold floats ({', '.join(_FLOATS)}), got {describe(array)}")
    wide = any(dtype_name(array) == "float64" for _, array in named)
    dtype = xp.float64 if wide else xp.float32
    return xp, *(xp.astype(array, dtype, copy=False) for _, array in named)


def _namespace(x: Any, name: str) -> Any:
    if framework_of(x) is None:
        raise TypeError(f"{name} must be an array (NumPy, PyTorch, JAX, TensorFlow or of the array API), "
                        f"got {describe(x)}")  # fmt: skip
    return of(x)


def stop_gradient(x: Any) -> Any:
    """`x`, taken for a constant by differentiation."""
    framework = framework_of(x)
    if framework == "torch":
        return x.detach()
    if framework == "jax":
        return sys.modules["jax"].lax.stop_gradient(x)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].stop_gradient(x)
    return x


def constant(values: Any, like: Any, dtype: Any = None) -> Any:
    """NumPy `values` as an array of the framework and device of `like`."""
    xp = of(like)
    if framework_of(like) == "torch":
        return xp.asarray(values, dtype=dtype, device=like.device)
    return xp.asarray(values, dtype=dtype)


def arange(n: Any, like: Any) -> Any:
    """0, 1, ..., n - 1 beside `like`."""
    xp = of(like)
    return xp.arange(n, device=like.device) if framework_of(like) == "torch" else xp.arange(n)


def length(x: Any, axis: int) -> Any:
    """The size of an axis: an int, or a TensorFlow scalar where a traced function leaves the size open."""
    n = x.shape[axis]
    return n if n is not None else sys.modules["tensorflow"].shape(x)[axis]


def take_rows(values: Any, rows: Any) -> Any:
    """Rows (n, s) of `values`, (k, d) shared or (n, k, d) own ones, as (n, s, d)."""
    if framework_of(values) == "tensorflow":
        return sys.modules["tensorflow"].gather(values, rows, batch_dims=len(values.shape) - 2)
    xp = of(values)
    if len(values.shape) == 3:
        return xp.take_along_axis(values, rows[..., None], axis=1)
    taken = xp.take(values, xp.reshape(rows, (-1,)), axis=0)
    return xp.reshape(taken, (*rows.shape, values.shape[-1]))


def cumulative_sum(x: Any) -> Any:
    """Inclusive sums along the last axis."""
    if framework_of(x) == "torch":  # array-api-compat's looks its namespace up again, at which torch.compile warns
        return x.cumsum(-1)
    return of(x).cumulative_sum(x, axis=-1)


def matmul(a: Any, b: Any) -> Any:
    """a @ b in the precision of its arguments, whatever reduced precision the framework would choose by itself.

    PyTorch's autocast multiplies in 16 bits, and JAX in TF32 or bfloat16 on accelerators.
    """
    framework = framework_of(a)
    if framework == "torch":
        torch = sys.modules["torch"]
        if torch.is_autocast_enabled(a.device.type):
            with torch.autocast(a.device.type, enabled=False):
                return a @ b
    if framework == "jax":
        jnp = sys.modules["jax.numpy"]
        return jnp.matmul(a, b, precision="highest")
    return a @ b
