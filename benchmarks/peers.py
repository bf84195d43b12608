"""Competitors that need care to be measured fairly."""

from __future__ import annotations

import os
from types import ModuleType


def load_faiss() -> ModuleType:
    """FAISS, whose OpenBLAS uses the kernel that NumPy's own chose.

    The OpenBLAS in FAISS's wheel is older: it knows no recent processor, and falls back to a kernel that is several
    times slower. It reads the name of a kernel from the environment, once, when it is loaded.
    """
    kernel = _kernel_of_numpy()
    before = os.environ.get("OPENBLAS_CORETYPE")
    if kernel is not None:
        os.environ["OPENBLAS_CORETYPE"] = kernel
    try:
        import faiss
    finally:
        if kernel is not None:
            del os.environ["OPENBLAS_CORETYPE"]
            if before is not None:
                os.environ["OPENBLAS_CORETYPE"] = before
    return faiss


def _kernel_of_numpy() -> str | None:
    try:
        import numpy  # noqa: F401  loads its BLAS
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return None
    kernels = [
        library.get("architecture") for library in threadpool_info() if library.get("internal_api") == "openblas"
    ]
    return kernels[0] if kernels else None
