"""One class per array framework: how a test makes its arrays and reads them back.

A framework is imported when its class is instantiated, and no earlier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.requirements import need


class NumPy:
    """Plain NumPy arrays."""

    name = "numpy"
    has_int64 = True

    def array(self, values: Any) -> Any:
        return np.array(values)

    def to_numpy(self, x: Any) -> np.ndarray:
        assert type(x) is np.ndarray, f"expected a NumPy array, got {type(x)}"
        return x

    def owns(self, x: Any) -> bool:
        """Whether `x` is an array of this framework on the CPU."""
        return type(x) is np.ndarray


class ReadOnlyNumPy(NumPy):
    """NumPy arrays that refuse to be written to, which catches mutation of inputs."""

    name = "numpy-read-only"

    def array(self, values: Any) -> Any:
        x = np.array(values)
        x.flags.writeable = False
        return x


class Torch:
    name = "torch"
    has_int64 = True

    def __init__(self) -> None:
        self.torch = need("torch")

    def array(self, values: Any) -> Any:
        return self.torch.from_numpy(np.array(values))

    def to_numpy(self, x: Any) -> np.ndarray:
        assert self.owns(x), f"expected a torch CPU tensor, got {type(x)}"
        return x.numpy()

    def owns(self, x: Any) -> bool:
        return type(x) is self.torch.Tensor and x.device.type == "cpu"


class Jax:
    """JAX without x64, which has neither int64 nor float64."""

    name = "jax"
    has_int64 = False

    def __init__(self) -> None:
        self.jax = need("jax")
        self.jnp = need("jax.numpy")

    def array(self, values: Any) -> Any:
        values = np.asarray(values)
        narrow = {"int64": "int32", "uint64": "uint32", "float64": "float32"}.get(values.dtype.name, values.dtype)
        return self.jnp.asarray(values.astype(narrow))

    def to_numpy(self, x: Any) -> np.ndarray:
        assert self.owns(x), f"expected a JAX CPU array, got {type(x)}"
        return np.asarray(x)

    def owns(self, x: Any) -> bool:
        return isinstance(x, self.jax.Array) and {d.platform for d in x.devices()} == {"cpu"}


class TensorFlow:
    name = "tensorflow"
    has_int64 = True

    def __init__(self) -> None:
        self.tf = need("tensorflow")

    def array(self, values: Any) -> Any:
        return self.tf.constant(np.array(values))

    def to_numpy(self, x: Any) -> np.ndarray:
        assert self.owns(x), f"expected an eager TensorFlow CPU tensor, got {type(x)}"
        return x.numpy()

    def owns(self, x: Any) -> bool:
        return isinstance(x, self.tf.Tensor) and hasattr(x, "numpy") and "CPU" in x.device.upper()


class ArrayApiStrict:
    """A framework that hashneg has never heard of and reaches through DLPack alone."""

    name = "array_api_strict"
    has_int64 = True

    def __init__(self) -> None:
        self.xp = need("array_api_strict")

    def array(self, values: Any) -> Any:
        return self.xp.asarray(np.array(values))

    def to_numpy(self, x: Any) -> np.ndarray:
        assert self.owns(x), f"expected an array_api_strict array, got {type(x)}"
        return np.from_dlpack(x)

    def owns(self, x: Any) -> bool:
        return type(x).__module__.partition(".")[0] == "array_api_strict"


ALL = [pytest.param(kind, id=kind.name) for kind in (NumPy, ReadOnlyNumPy, Torch, Jax, TensorFlow, ArrayApiStrict)]
