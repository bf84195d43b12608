"""The cupy backend on a real device, where there is one: ``python -m pytest -m gpu``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import test_public_embeddings
import test_public_index
import test_public_mining
import test_public_table
from helpers import projections
from helpers.search_problems import LAYOUTS, brute_force_topk, neighbours
from test_emulated_search import problem_of

import hashneg as hn

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["as the device has it", "bit-sliced"])
def cupy(request, monkeypatch):
    why = next(row.why for row in hn.backends() if row.name == "cupy")
    if why:
        pytest.skip(f"the backend cupy {why}")
    if request.param == "bit-sliced":
        monkeypatch.setattr("hashneg.backends.cupy.layout.on_tensor_core", lambda: False)
    return pytest.importorskip("cupy")


def moved(cupy, problem):
    codes = [hn.Codes(cupy.asarray(codes.data), codes.n_bits) for codes in problem.codes]
    return codes, {name: cupy.asarray(np.ascontiguousarray(value)) for name, value in problem.arguments.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_bits", [20, 256, 300, 1100])
@pytest.mark.parametrize("n", [0, 33, 5000, 70_001])
def test_topk(cupy, layout, n_bits, n):
    problem = problem_of(layout, 70, n, n_bits, *(("query_ids", "labels") if n else ()))
    codes, arguments = moved(cupy, problem)
    for k in (1, 100, 3000):
        found = hn.hamming_topk(*codes, k, **arguments)
        expected = brute_force_topk(problem, k)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got.get(), wanted)


def test_range(cupy):
    problem = problem_of("clustered", 70, 9000, 256, "exclude", "allow each")
    codes, arguments = moved(cupy, problem)
    found = hn.hamming_range(*codes, 60, **arguments)
    assert found.indices.get().tolist() == [row for pairs in neighbours(problem, 60) for _, row in pairs]


@pytest.mark.parametrize("chunk_rows", [None, 9000])
def test_streaming(cupy, chunk_rows):
    problem = problem_of("clustered", 70, 70_001, 256, "query_ids", "labels")
    codes, arguments = moved(cupy, problem)
    arguments["database_labels"] = problem.arguments["database_labels"]
    found = hn.stream_topk(codes[0], problem.codes[1], 100, **arguments, chunk_rows=chunk_rows)
    for got, wanted in zip(found, brute_force_topk(problem, 100), strict=True):
        np.testing.assert_array_equal(got.get(), wanted)


@pytest.mark.parametrize("probe", [0.02, 0.3, 1.0])
def test_a_clustered_index(cupy, probe):
    problem = problem_of("clustered", 70, 70_001, 256, "query_ids", "allow few")
    codes, arguments = moved(cupy, problem)
    here = hn.HammingIndex(problem.codes[1], order="clustered")
    found = here.moved_to(cupy.empty(0)).topk(codes[0], 100, **arguments, probe=probe)
    for got, wanted in zip(found, here.topk(problem.codes[0], 100, **problem.arguments, probe=probe), strict=True):
        np.testing.assert_array_equal(got.get(), wanted)


def test_the_callers_stream_is_used(cupy):
    """Work goes to the current stream: what is queued before and behind it there is in order without a wait."""
    problem = problem_of("random", 64, 50_000, 256)
    codes, _ = moved(cupy, problem)
    with cupy.cuda.Stream(non_blocking=True):
        rows = cupy.zeros_like(codes[1].data)
        rows[:] = codes[1].data
        found = hn.hamming_topk(codes[0], rows, 10)
        rows[:] = 0
        copies = [part.copy() for part in found]
    expected = brute_force_topk(problem, 10)
    for got, wanted in zip(copies, expected, strict=True):
        np.testing.assert_array_equal(got.get(), wanted)


@pytest.fixture
def gpu(cupy):
    """As the tests of the emulated device get it."""
    return SimpleNamespace(cp=cupy)


@pytest.mark.parametrize("rotation", projections.ROTATIONS)
def test_codes_differ_only_near_zero(gpu, rotation):
    for dtype in (np.float16, np.float32, np.float64):
        test_public_embeddings.test_codes_of_the_device_differ_only_near_zero(gpu, rotation, dtype)


def test_index_and_table_stay_on_the_device(gpu, tmp_path):
    test_public_index.test_every_operation_gives_what_it_gives_on_the_host(gpu, True)
    test_public_index.test_files_pickles_and_moves(gpu, tmp_path)
    tables = test_public_table.tables_of(gpu, True)
    test_public_table.test_updates_and_refreshes(gpu, tables)
    test_public_table.test_a_state_goes_to_either_side(gpu, tables)


@pytest.mark.parametrize("what", test_public_mining.CALLS)
def test_mining(gpu, monkeypatch, what):
    test_public_mining.test_it_finds_what_it_finds_on_the_host(gpu, monkeypatch, what)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_of_pytorch(cupy, dtype):
    """What comes back are tensors on the device, also with memory of PyTorch's allocator."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA device")
    from hashneg.adapters.torch import use_torch_allocator

    x = torch.from_numpy(projections.data(500)).to(getattr(torch, dtype))
    there = x.cuda()
    quantizer = hn.BinaryQuantizer(64).fit(there)
    assert quantizer.fingerprint == hn.BinaryQuantizer(64).fit(x).fingerprint
    expected = hn.mine_hard_negatives(x, quantizer=quantizer, k=5)
    with use_torch_allocator():
        found = hn.mine_hard_negatives(there, quantizer=quantizer, k=5)
        table = hn.CodeTable(500, quantizer, like=there)
        table.update(torch.arange(500, device="cuda"), there)
        nearest = table.mine(torch.arange(9, device="cuda"), 3)
    assert {part.device.type for part in (*found[:3], *nearest, table.codes().data)} == {"cuda"}
    assert (found.indices.cpu() == expected.indices).float().mean() > 0.98, "bits near zero may differ"


def test_jax_calls_the_kernels_back(cupy):
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this JAX has no GPU, or JAX_PLATFORMS keeps it from it")
    from hashneg.adapters.jax import hamming_topk, pack_signs

    codes = pack_signs(jax.numpy.asarray(projections.data(300)))
    search = jax.jit(lambda codes, backend: hamming_topk(codes, codes, 4, backend=backend), static_argnames="backend")
    for got, wanted in zip(search(codes, "auto"), search(codes, "jax"), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_benchmark_runs(cupy):
    command = [sys.executable, "-m", "benchmarks.gpu", "--rows", "50000", "--queries", "100", "--runs", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "hashneg, bit-sliced" in done.stdout
