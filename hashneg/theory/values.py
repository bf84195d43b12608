"""Numbers and arrays in, the same kind out: what every formula of this package does at its borders."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from hashneg import arrays, checks, namespaces

ROTATIONS = ("orthogonal", "gaussian", "hadamard")
_SLACK = 1e-6  # float32 rounds pi up

Export = Callable[[Any], Any]


def take(**named: Any) -> tuple[Any, list[Any], Export]:
    """The namespace, the arguments as floating arrays of it, and the function that turns a result back.

    Gradients and jit pass through, except with TensorFlow, whose tensors are computed in NumPy. Floats are float64
    where one of the arrays is, else float32; integers become the framework's default float, numbers give a float.

    Raises
    ------
    TypeError
        If an argument is neither a number nor an array, or arrays are of different frameworks.
    """
    given = {name: value for name, value in named.items() if _is_array(value, name)}
    if not given:
        return np, [np.float64(value) for value in named.values()], _number
    first, *others = given
    frameworks = {name: arrays.framework_of(value) for name, value in given.items()}
    for name in others:
        if frameworks[name] != frameworks[first]:
            raise TypeError(f"{name} must be a number or of the framework of {first}, {frameworks[first]}; "
                            f"got {arrays.describe(given[name])}")  # fmt: skip
    if frameworks[first] == "tensorflow":
        host, export = take_numpy(**named)
        return np, host, export
    xp = namespaces.of(given[first])
    kinds = {namespaces.dtype_name(value) for value in given.values()} & set(arrays.FLOAT_DTYPES)
    dtype = (xp.float64 if "float64" in kinds else xp.float32) if kinds else xp.asarray(1.0).dtype
    cast = {name: xp.astype(value, dtype, copy=False) for name, value in given.items()}
    like = cast[first]
    return xp, [cast[name] if name in cast else xp.full_like(like, float(named[name])) for name in named], _same


def take_numpy(**named: Any) -> tuple[list[Any], Export]:
    """The arguments as float64 of NumPy, for formulas that need SciPy, and the function that turns a result back."""
    given = [value for name, value in named.items() if _is_array(value, name)]
    if not given:
        return [np.float64(value) for value in named.values()], _number
    host = [_host(value, name) for name, value in named.items()]
    export = arrays.exporter(given[0])
    kinds = {namespaces.dtype_name(value) for value in given} & set(arrays.FLOAT_DTYPES)
    dtype = np.float32 if kinds and "float64" not in kinds else np.float64
    return host, lambda result: export(np.asarray(result, dtype))


def all_true(condition: Any) -> bool:
    """Whether a condition on values holds everywhere; taken for granted under jit, or with HASHNEG_CHECK=0."""
    if not checks.values_are_checked() or _is_traced(condition):
        return True
    return bool(condition.all() if hasattr(condition, "all") else namespaces.of(condition).all(condition))


def check_range(value: Any, name: str, low: float, high: float) -> None:
    """ValueError where a value lies outside [low, high], or is NaN."""
    if not all_true((value >= low - _SLACK) & (value <= high + _SLACK)):
        raise ValueError(f"{name} must lie between {low:.4g} and {high:.4g}, got a value outside, or NaN")


def check_angle(value: Any, name: str = "angle") -> None:
    """ValueError unless all angles lie between 0 and pi."""
    check_range(value, name, 0.0, math.pi)


def blocks(n_bits: int, dim: int, rotation: str) -> tuple[list[int], int]:
    """The number of bits of each block of orthonormal rows, and the dimensions of a block.

    Raises
    ------
    ValueError
        For "itq" and "identity": their rows are not drawn at random, so no law holds over the draw.
    """
    n_bits, dim = checks.integer(n_bits, "n_bits", minimum=1), checks.integer(dim, "dim", minimum=1)
    if rotation in ("itq", "identity"):
        raise ValueError(
            f"rotation={rotation!r} is not drawn at random, so nothing is known of its codes in general; "
            f"choose one of {list(ROTATIONS)}"
        )
    if checks.choice(rotation, "rotation", ROTATIONS) == "gaussian":
        return [1] * n_bits, dim
    if rotation == "hadamard":
        dim = 1 << (dim - 1).bit_length()
    return [min(dim, n_bits - first) for first in range(0, n_bits, dim)], dim


def _is_array(value: Any, name: str) -> bool:
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return False
    if arrays.framework_of(value) is None:
        raise TypeError(f"{name} must be a number or an array, got {arrays.describe(value)}")
    return True


def _host(value: Any, name: str) -> np.ndarray:
    if not _is_array(value, name):
        return np.asarray(value, np.float64)
    array = arrays.to_numpy(value, name)
    if arrays.is_bfloat16(value):  # the upper half of a float32
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float64)


def _same(result: Any) -> Any:
    return result


def _number(result: Any) -> Any:
    return float(result) if np.ndim(result) == 0 else result


def _is_traced(x: Any) -> bool:
    """Whether x stands for values that are not there yet, inside jax.jit or torch.compile."""
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    if jax is not None and isinstance(x, jax.core.Tracer):
        return True
    return torch is not None and isinstance(x, torch.Tensor) and torch.compiler.is_compiling()
