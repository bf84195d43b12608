"""Exact search on a GPU, timed with CUDA events: ``python -m benchmarks.gpu [--rows N] [--queries NQ] [--bits B]``.

hashneg's prepared search, with each kernel that the device can run, beside PyTorch (a half-precision product of the
embeddings' size and top-k), FAISS (GpuIndexBinaryFlat) and cuVS (brute force over the embeddings), where they are
installed. Contenders take turns, and the median of their runs counts. The first answers are compared with the
reference. Needs CuPy and a device; nothing here has run on one yet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from hashneg import backends
from hashneg.backends.request import Database, Exclusions, Search
from hashneg.progress import Meter

DIM = 768  # of the embeddings that the float contenders search


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n\n")[2])
    for name, default in {"rows": 1_000_000, "queries": 4096, "bits": 256, "k": 100, "runs": 11}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    here = {row.name: row for row in backends.available()}
    if not here["cupy"].available:
        print(f"no GPU: the backend cupy {here['cupy'].why}", file=sys.stderr)
        return 2
    rng = np.random.default_rng(0)
    width = -(-options.bits // 8)
    queries, rows = (rng.integers(0, 256, (n, width), np.uint8) for n in (options.queries, options.rows))
    contenders = _hashneg(queries, rows, options) | _others(queries, rows, options)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(options.runs + 1):  # the first is a warm-up
        for name, search in contenders.items():
            seconds = _seconds(search)
            if run:
                times[name].append(seconds)
    print(f"{_device_name()}: {options.queries} queries, {options.rows} rows, {options.bits} bits, k = {options.k}")
    for name, seconds in times.items():
        median = float(np.median(seconds))
        speed = options.queries * options.rows / median
        print(f"{name:28} {1000 * median:9.3f} ms   {speed:.2e} comparisons/s")
    return 0


def _hashneg(queries: np.ndarray, rows: np.ndarray, options: Any) -> dict[str, Callable[[], Any]]:
    cupy = import_module("cupy")
    search = import_module("hashneg.backends.cupy.search")
    layout = import_module("hashneg.backends.cupy.layout")
    n_bits = 8 * queries.shape[1]
    request = Search(n_bits, n_bits, Exclusions())
    on_device, first = cupy.asarray(queries), min(8, len(queries))
    plain = backends.implementation("topk", "reference")
    with Meter(False, first, "") as meter:
        expected = plain(Database(rows, n_bits), queries[:first], options.k, request, 1, meter)
    result: dict[str, Callable[[], Any]] = {}
    kinds = {"hashneg, bit-sliced": layout.SlicedLayout}
    if layout.on_tensor_core():
        kinds["hashneg, tensor core"] = layout.TensorLayout
    for name, kind in kinds.items():
        base = Database(cupy.asarray(rows), n_bits)
        base.layout = kind.of(base.codes, n_bits, None)

        def run(base: Database = base) -> Any:
            with Meter(False, len(on_device), "") as meter:
                return search.topk(base, on_device, options.k, request, 1, meter)

        for found, wanted in zip(run(), expected, strict=True):
            np.testing.assert_array_equal(found[:first].get(), wanted)
        result[name] = run
    return result


def _others(queries: np.ndarray, rows: np.ndarray, options: Any) -> dict[str, Callable[[], Any]]:
    result: dict[str, Callable[[], Any]] = {}
    if find_spec("torch") and (torch := import_module("torch")).cuda.is_available():
        x, y = (torch.randn(n, DIM, device="cuda", dtype=torch.float16) for n in (len(queries), len(rows)))
        step = max(1, (4 << 30) // (2 * len(rows)))  # scores of four gigabytes at a time

        def product() -> Any:
            return [torch.topk(x[i : i + step] @ y.T, options.k) for i in range(0, len(x), step)]

        result[f"torch fp16, d = {DIM}"] = product
    if find_spec("faiss") and hasattr(faiss := import_module("faiss"), "GpuIndexBinaryFlat"):
        index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), 8 * queries.shape[1])
        index.add(rows)
        result["faiss GpuIndexBinaryFlat"] = lambda: index.search(queries, options.k)
    if find_spec("cuvs"):
        cupy, brute = import_module("cupy"), import_module("cuvs.neighbors.brute_force")
        a, b = (cupy.random.standard_normal((n, DIM), dtype=cupy.float32) for n in (len(queries), len(rows)))
        built = brute.build(b, metric="inner_product")
        result[f"cuvs brute force, d = {DIM}"] = lambda: brute.search(built, a, options.k)
    return result


def _seconds(run: Callable[[], Any]) -> float:
    cupy = import_module("cupy")
    stream = cupy.cuda.Stream.null
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    begin.record(stream)
    run()
    end.record(stream)
    end.synchronize()
    cupy.cuda.Device().synchronize()
    return cupy.cuda.get_elapsed_time(begin, end) / 1000


def _device_name() -> str:
    cupy = import_module("cupy")
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
