"""The emulation of CUDA sees what it should see: wrong launches, missing barriers, fragments in their places."""

from __future__ import annotations

import numpy as np
import pytest

NULL = np.uintp(0)


@pytest.fixture
def gpu(emulated):
    return emulated()


def run(gpu, body: str, threads: int, *arrays, seed: int = 0, blocks: int = 1, shared: int = 0) -> None:
    code = (
        gpu.device.source("mma.cuh") + 'extern "C" __global__ void probe(int *out, const unsigned *in) {' + body + "}"
    )
    gpu.cp.RawKernel.seed = seed
    gpu.cp.RawModule(code=code).get_function("probe")((blocks,), (threads,), arrays, shared_mem=shared)


REVERSE = "__shared__ int all[64]; all[threadIdx.x] = threadIdx.x; BARRIER out[threadIdx.x] = all[63 - threadIdx.x];"


def test_a_missing_barrier_shows(gpu):
    out = gpu.cp.full((64,), 0, np.int32)
    for seed in range(4):
        run(gpu, REVERSE.replace("BARRIER", "__syncthreads();"), 64, out, NULL, seed=seed)
        np.testing.assert_array_equal(out.get(), np.arange(64)[::-1])
        run(gpu, REVERSE.replace("BARRIER", ""), 64, out, NULL, seed=seed)
        assert (out.get() != np.arange(64)[::-1]).any()


@pytest.mark.parametrize(
    ("body", "threads", "seen"),
    [
        ("if (threadIdx.x) __syncthreads();", 32, "left while others wait"),
        ("if (threadIdx.x != 5) __syncwarp();", 32, "never came to __syncwarp"),
        ("if (threadIdx.x < 9) __syncwarp(); else __ballot_sync(~0u, 1);", 32, "a lane came to"),
        ("if (threadIdx.x < 9) __syncwarp(511);", 32, "part of a warp"),
        ("", 33, "whole warps"),
    ],
)
def test_threads_that_do_not_meet_are_an_error(gpu, body, threads, seen):
    with pytest.raises(RuntimeError, match=seen):
        run(gpu, body, threads, NULL, NULL)


def test_shared_memory_starts_with_a_pattern(gpu):
    out = gpu.cp.full((2,), 0, np.int32)
    run(gpu, "__shared__ int cell; if (!threadIdx.x) { out[blockIdx.x] = cell; cell = 7; }", 32, out, NULL, blocks=2)
    assert out.get().view(np.uint32).tolist() == [0xA5A5A5A5] * 2


def test_arguments_are_checked(gpu):
    good = gpu.cp.full((32,), 0, np.int32)
    for wrong in (np.zeros(3, np.int32), 0, gpu.cp.full((4,), 0, np.int64), gpu.cp.full((4, 4), 0, np.int32)[:, ::2]):
        with pytest.raises(TypeError, match="probe, argument 0"):
            run(gpu, "", 32, wrong, NULL)
    with pytest.raises(TypeError, match="takes 2 arguments, got 1"):
        run(gpu, "", 32, good)
    with pytest.raises(ValueError, match="invalid grid"):
        run(gpu, "", 32, good, NULL, blocks=0)
    with pytest.raises(ValueError, match="shared memory"):
        run(gpu, "", 32, good, NULL, shared=50_000)


def test_fresh_memory_is_poisoned_and_arrays_stay_on_the_device(gpu):
    fresh = gpu.cp.empty((3,), np.int32)
    assert (fresh.get() == np.int32(-0x5A5A5A5B)).all()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(fresh)


FRAGMENTS = """
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const unsigned *b = in + 16 * 8;  // a: 16 rows of eight words; b: eight columns of eight words
    const uint4 mine = {in[g * 8 + t], in[(g + 8) * 8 + t], in[g * 8 + t + 4], in[(g + 8) * 8 + t + 4]};
    const int4 sums = and_popcount(mine, uint2{b[g * 8 + t], b[g * 8 + t + 4]}, int4{1, 20, 300, 4000});
    out[g * 8 + 2 * t] = sums.x, out[g * 8 + 2 * t + 1] = sums.y;
    out[(g + 8) * 8 + 2 * t] = sums.z, out[(g + 8) * 8 + 2 * t + 1] = sums.w;
"""


def test_matrix_fragments_lie_as_the_ptx_isa_says(gpu):
    words = np.random.default_rng(0).integers(0, 2**32, 24 * 8, np.uint32)
    out = gpu.cp.full((16, 8), 0, np.int32)
    run(gpu, FRAGMENTS, 32, out, gpu.cp.asarray(words))
    a, b = words[:128].reshape(16, 1, 8), words[128:].reshape(1, 8, 8)
    start = np.block([[np.tile([1, 20], (8, 4))], [np.tile([300, 4000], (8, 4))]])
    np.testing.assert_array_equal(out.get(), np.bitwise_count(a & b).sum(axis=2, dtype=int) + start)
