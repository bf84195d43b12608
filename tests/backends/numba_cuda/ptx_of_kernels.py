"""Compiles every kernel of numba_cuda to PTX, and prints it as JSON; `test_ptx.py` runs this without a GPU.

The kernels' argument types are those of real calls: each operation runs with a device that computes nothing and
compiles whatever is launched.

Arguments: architectures as "75,90"; a module, a piece of its source and a faulty piece, to plant a fault.
"""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from helpers.faults import faulty_copy
from numba import cuda, types
from numba.cuda import dispatcher
from numba.np.numpy_support import from_dtype

import hashneg.backends.request as ask
from hashneg.backends import implementation
from hashneg.backends.numba_cuda import device
from hashneg.progress import Meter

MODULES = ["kernels", "projection", "similarity"]
#: kernel name -> architecture -> dtype of the embeddings -> PTX
compiled: dict[str, dict[str, dict[str, str]]] = {}


def type_of(value: Any) -> types.Type:
    if isinstance(value, np.ndarray):
        return types.Array(from_dtype(value.dtype), value.ndim, "C" if value.flags.c_contiguous else "A")
    return types.boolean if isinstance(value, bool) else types.int64


@cache
def ptx_of(function: Any, signature: tuple[types.Type, ...], capability: tuple[int, int]) -> str:
    # device functions ask the current device for its architecture
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    return cuda.compile_ptx(function, signature, cc=capability)[0]


def launch_nothing(architectures: list[tuple[int, int]], dtype: str) -> None:
    """Put a device in place whose memory is NumPy's, and which compiles kernels instead of running them."""

    def launch(kernel: Any, count: int, *arguments: Any) -> None:
        signature = tuple(map(type_of, arguments))
        for capability in architectures:
            ptx = ptx_of(kernel.py_func, signature, capability)
            name = "{}{}".format(*capability)
            compiled.setdefault(kernel.py_func.__name__, {}).setdefault(name, {})[dtype] = ptx

    device.launch = device.launch_blocks = launch
    device.empty = lambda shape, dtype: np.zeros(shape, dtype)
    device.upload = device.view = device.download = device.result = lambda x: x
    device.number = lambda: 0
    device.memory = lambda *arguments: nullcontext()
    for module in MODULES:
        importlib.import_module(f"hashneg.backends.numba_cuda.{module}").__dict__.update(upload=device.upload)
    importlib.import_module("hashneg.backends.numba_cuda.masks").__dict__.update(upload=device.upload, view=device.view)


def run_every_operation(dtype: str) -> None:
    def run(operation: str, *arguments: Any) -> Any:
        return implementation(operation, "numba_cuda")(*arguments)

    codes, ids, rows = np.zeros((20, 3), np.uint8), np.zeros(20, np.int64), np.zeros((20, 4), dtype)
    clustering = ask.Clustering(np.arange(20), 10, codes[:2], np.zeros(2, np.int32))
    database = ask.Database(codes, 24, np.ones(20, bool), clustering)
    exclusions = ask.Exclusions(ids, ids, ids, ids[:, None], np.zeros((1, 3), np.uint8), True)
    run("prepare", database)
    run("write", database, ids[:1])
    with Meter(False, 20, "") as meter:
        run("topk", database, codes, 5, ask.Search(24, 9, exclusions, probe=0.5), 1, meter)
        run("range_search", database, codes, ask.Search(24, 9, exclusions), 1, meter)
    run("distances", codes, codes)
    run("add_columns", np.zeros(4), rows)
    for kind in (
        ask.Projection("identity", np.zeros(4)),
        ask.Projection("dense", np.zeros(6), np.zeros((6, 4))),
        ask.Projection("hadamard", np.zeros(6), signs=np.ones((2, 3, 4))),
    ):
        run("project", rows, kind)
        run("encode", rows, kind)
    run("pair_scores", rows, rows, ids[:, None], True)
    run("update_best", np.zeros((20, 3), dtype), np.zeros((20, 3), np.int64), rows, rows, 0, exclusions)


def main(architectures: str, module: str = "", sound: str = "", faulty: str = "") -> None:
    if module:
        original = importlib.import_module(f"hashneg.backends.numba_cuda.{module}")
        planted = {name: x for name, x in vars(faulty_copy(original, sound, faulty)).items() if hasattr(x, "py_func")}
        vars(original).update(planted)
    capabilities = [(int(name[:-1]), int(name[-1])) for name in architectures.split(",")]
    launch_nothing(capabilities, "float32")
    run_every_operation("float32")
    if not module:  # what differs from float32 is the types, for which one architecture is enough
        launch_nothing(capabilities[:1], "float64")
        run_every_operation("float64")
    every = {
        kernel.py_func.__name__
        for name in MODULES
        for kernel in vars(importlib.import_module(f"hashneg.backends.numba_cuda.{name}")).values()
        if hasattr(kernel, "py_func") and not kernel.targetoptions.get("device")
    }
    json.dump({"kernels": sorted(every), "ptx": compiled}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
