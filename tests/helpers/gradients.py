"""Values and gradients of one function in every framework.

Calling a framework evaluates ``function(*arrays)`` and returns its value and the gradients of its sum with fixed
weights, as NumPy arrays. `by_differences` is the yardstick: central differences of the NumPy path, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.requirements import need

Result = tuple[np.ndarray, list[np.ndarray]]


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Fixed weights, all different, that make one number of an array."""
    return np.cos(np.arange(int(np.prod(shape))) + 1.0).reshape(shape) + 0.5


class Torch:
    name = "torch"

    def __init__(self) -> None:
        self.torch = need("torch")

    def array(self, x: np.ndarray, dtype: str = "float64") -> Any:
        return self.torch.from_numpy(np.array(x)).to(getattr(self.torch, dtype))

    def __call__(self, function: Callable, *inputs: np.ndarray, dtype: str = "float64") -> Result:
        arrays = [self.array(x, dtype).requires_grad_() for x in inputs]
        value = function(*arrays)
        (value * self.array(_weights(tuple(value.shape))).to(value.dtype)).sum().backward()
        grads = [self.torch.zeros_like(a) if a.grad is None else a.grad for a in arrays]
        assert [g.dtype for g in grads] == [a.dtype for a in arrays]
        return value.detach().double().numpy(), [g.double().numpy() for g in grads]

    def compiled(self, function: Callable, *inputs: np.ndarray) -> list[np.ndarray]:
        """What ``torch.compile`` makes of it; tracing is what can fail, so no machine code is built."""
        run = self.torch.compile(function, fullgraph=True, backend="eager")
        return [x.numpy() for x in run(*map(self.array, inputs))]


class Jax:
    """Always compiled as a whole, which tests the compiler and is quicker than operation by operation."""

    name = "jax"

    def __init__(self) -> None:
        self.jax = need("jax")
        self.jnp = need("jax.numpy")

    def array(self, x: np.ndarray, dtype: str = "float64") -> Any:
        return self.jnp.asarray(x, dtype=dtype)

    def _jit(self, function: Callable) -> Callable:
        return self.jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})

    def __call__(self, function: Callable, *inputs: np.ndarray, dtype: str = "float64") -> Result:
        with self.jax.enable_x64(True):
            arrays = [self.array(x, dtype) for x in inputs]

            def number(*arrays: Any) -> Any:
                value = function(*arrays)
                return (value * self.jnp.asarray(_weights(value.shape), value.dtype)).sum(), value

            grad = self.jax.grad(number, argnums=tuple(range(len(arrays))), has_aux=True)
            grads, value = self._jit(grad)(*arrays)
            assert [g.dtype for g in grads] == [a.dtype for a in arrays]
            return np.asarray(value, np.float64), [np.asarray(g, np.float64) for g in grads]

    def compiled(self, function: Callable, *inputs: np.ndarray) -> list[np.ndarray]:
        with self.jax.enable_x64(True):
            return [np.asarray(x) for x in self._jit(function)(*map(self.array, inputs))]


class TensorFlow:
    name = "tensorflow"

    def __init__(self) -> None:
        self.tf = need("tensorflow")

    def array(self, x: np.ndarray, dtype: str = "float64") -> Any:
        return self.tf.cast(self.tf.constant(np.array(x)), dtype)

    def __call__(self, function: Callable, *inputs: np.ndarray, dtype: str = "float64") -> Result:
        tf = self.tf
        arrays = [self.array(x, dtype) for x in inputs]
        with tf.GradientTape() as tape:
            for array in arrays:
                tape.watch(array)
            value = function(*arrays)
            number = tf.reduce_sum(value * tf.cast(_weights(tuple(value.shape)), value.dtype))
        grads = tape.gradient(number, arrays, unconnected_gradients="zero")
        assert [g.dtype for g in grads] == [a.dtype for a in arrays]
        return tf.cast(value, "float64").numpy(), [tf.cast(g, "float64").numpy() for g in grads]

    def compiled(self, function: Callable, *inputs: np.ndarray) -> list[np.ndarray]:
        run = self.tf.function(function, jit_compile=True)
        return [x.numpy() for x in run(*map(self.array, inputs))]


ALL = [pytest.param(kind, id=kind.name) for kind in (Torch, Jax, TensorFlow)]


def by_differences(function: Callable, *inputs: np.ndarray, step: float = 1e-6) -> Result:
    """Value and central differences of the NumPy path."""
    value = np.asarray(function(*inputs), np.float64)
    weights, grads = _weights(value.shape), []
    for i, x in enumerate(inputs):
        grad = np.empty(x.shape)
        for place in np.ndindex(*x.shape):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[place] += sign * step
                ends.append((function(*inputs[:i], moved, *inputs[i + 1 :]) * weights).sum())
            grad[place] = (ends[0] - ends[1]) / (2 * step)
        grads.append(grad)
    return value, grads


def check(framework: Any, function: Callable, *inputs: np.ndarray) -> None:
    """Value and gradients in a framework are those of the NumPy path."""
    value, grads = by_differences(function, *inputs)
    other, others = framework(function, *inputs)
    np.testing.assert_allclose(other, value, rtol=1e-12, atol=1e-12)
    for grad, found in zip(grads, others, strict=True):
        np.testing.assert_allclose(found, grad, rtol=1e-5, atol=1e-7)
