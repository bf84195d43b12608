"""One matrix, presented in every dtype and memory layout that a framework can hand over.

Each entry of `LAYOUTS` makes an array from a float32 matrix whose values are exact in bfloat16, so that
all of them mean the same embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.requirements import need


def matrix(n: int = 24, d: int = 17) -> np.ndarray:
    """Small multiples of 1/8, exact in float16 and bfloat16; no row is zero."""
    return (np.random.default_rng(7).integers(-60, 60, (n, d)) / 8 + 0.0625).astype(np.float32)


def _numpy_read_only(x: np.ndarray) -> Any:
    x = x.copy()
    x.flags.writeable = False
    return x


def _numpy_negative_strides(x: np.ndarray) -> Any:
    return x[::-1, ::-1].copy()[::-1, ::-1]


def _numpy_non_contiguous(x: np.ndarray) -> Any:
    wide = np.full((2 * x.shape[0], 3 * x.shape[1]), np.float32(np.nan))
    wide[::2, 1::3] = x
    return wide[::2, 1::3]


def _numpy_unaligned(x: np.ndarray) -> Any:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[:] = x
    assert not view.flags.aligned
    return view


def _torch_from(x: np.ndarray) -> Any:
    return need("torch").from_numpy(x.copy())


def _torch_conjugate_bit(x: np.ndarray) -> Any:
    torch = need("torch")
    view = torch.complex(torch.zeros(x.shape), _torch_from(-x)).conj().imag
    assert view.is_neg()
    return view


def _torch_parameter(x: np.ndarray) -> Any:
    return need("torch").nn.Parameter(_torch_from(x))


def _torch_non_contiguous(x: np.ndarray) -> Any:
    torch = need("torch")
    wide = torch.full((2 * x.shape[0], 3 * x.shape[1]), float("nan"))
    wide[::2, 1::3] = _torch_from(x)
    return wide[::2, 1::3]


def _jax_array(x: np.ndarray, dtype: str = "float32") -> Any:
    return need("jax.numpy").asarray(x, dtype=dtype)


def _tf_constant(x: np.ndarray, dtype: str = "float32") -> Any:
    return need("tensorflow").constant(x, dtype=dtype)


LAYOUTS = {
    "numpy-float16": lambda x: x.astype(np.float16),
    "numpy-float64": lambda x: x.astype(np.float64),
    "numpy-bfloat16-of-ml_dtypes": lambda x: x.astype(need("ml_dtypes").bfloat16),
    "numpy-read-only": _numpy_read_only,
    "numpy-fortran-order": np.asfortranarray,
    "numpy-negative-strides": _numpy_negative_strides,
    "numpy-non-contiguous": _numpy_non_contiguous,
    "numpy-byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "numpy-byte-swapped-float16": lambda x: x.astype(np.dtype(np.float16).newbyteorder()),
    "numpy-unaligned": _numpy_unaligned,
    "torch-float16": lambda x: _torch_from(x).half(),
    "torch-bfloat16": lambda x: _torch_from(x).bfloat16(),
    "torch-float64": lambda x: _torch_from(x).double(),
    "torch-requires-grad": lambda x: _torch_from(x).requires_grad_(),
    "torch-bfloat16-requires-grad": lambda x: _torch_from(x).bfloat16().requires_grad_(),
    "torch-graph-node": lambda x: _torch_from(x).requires_grad_() * 1,
    "torch-parameter": _torch_parameter,
    "torch-negative-bit": lambda x: _torch_from(-x)._neg_view(),
    "torch-imaginary-part-of-conjugate": _torch_conjugate_bit,
    "torch-transposed": lambda x: _torch_from(np.ascontiguousarray(x.T)).T,
    "torch-non-contiguous": _torch_non_contiguous,
    "torch-bfloat16-non-contiguous": lambda x: _torch_non_contiguous(x).bfloat16()[:, :],
    "jax-float16": lambda x: _jax_array(x, "float16"),
    "jax-bfloat16": lambda x: _jax_array(x, "bfloat16"),
    "tensorflow-float16": lambda x: _tf_constant(x, "float16"),
    "tensorflow-bfloat16": lambda x: _tf_constant(x, "bfloat16"),
    "tensorflow-float64": lambda x: _tf_constant(x, "float64"),
    "tensorflow-variable": lambda x: need("tensorflow").Variable(x),
    "tensorflow-bfloat16-variable": lambda x: need("tensorflow").Variable(x, dtype="bfloat16"),
}

ALL = [pytest.param(make, id=name) for name, make in LAYOUTS.items()]
