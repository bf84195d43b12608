"""The public functions of embeddings on an (emulated) device, against the same functions on the host."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import projections

import hashneg as hn
from hashneg import cuda_arrays, device_embeddings


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rotation", projections.ROTATIONS)
def test_codes_of_the_device_differ_only_near_zero(gpu, rotation, dtype):
    x = projections.data(70, dtype=dtype)
    quantizer = projections.quantizer(rotation, "mean").fit(x)
    wide = x.astype(np.float32) if dtype == np.float16 else x
    z, near = projections.exact(quantizer, wide), projections.tolerance(quantizer, wide)
    codes, found = quantizer.encode(gpu.cp.asarray(x)), quantizer.project(gpu.cp.asarray(x))
    assert isinstance(codes.data, gpu.cp.ndarray)
    assert found.dtype == wide.dtype
    assert np.all(np.abs(found.get() - z) <= near)
    bits = projections.bits(hn.Codes(codes.data.get(), codes.n_bits))
    assert np.all((bits == (projections.bits(quantizer.encode(x)))) | (np.abs(z) <= near))
    assert len(quantizer.encode(gpu.cp.asarray(x[:0]))) == 0


@pytest.mark.parametrize("center", projections.CENTERS)
@pytest.mark.parametrize("rotation", ["hadamard", "itq"])
def test_a_fit_on_the_device_is_the_one_on_the_host(gpu, monkeypatch, rotation, center):
    """Sums are taken in one order, and the sample depends on row numbers only."""
    monkeypatch.setattr("hashneg.quantize.quantizer.SAMPLE_ROWS", 50)
    monkeypatch.setattr("hashneg.quantize.quantizer.block_rows", lambda dim: 64)
    x = projections.data(150)
    expected = projections.quantizer(rotation, center).fit(x)
    fitted = projections.quantizer(rotation, center).fit(gpu.cp.asarray(x))
    assert fitted.fingerprint == expected.fingerprint


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(gpu, monkeypatch, values):
    x = projections.data(150)
    quantizer = projections.quantizer("orthogonal", "mean").fit(x)
    x[97, 3] = values
    reads = []
    monkeypatch.setattr(gpu.cp.ndarray, "__bool__", lambda flag: reads.append(1) or bool(flag.values))
    monkeypatch.setattr(device_embeddings, "_CHECKED_NUMBERS", 40 * 50)
    bad, good = gpu.cp.asarray(x), gpu.cp.asarray(projections.data(150))
    for call in (quantizer.encode, quantizer.project, quantizer.partial_fit):
        with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 97"):
            call(bad)
    with pytest.raises(ValueError, match="database holds NaN or infinity, first in row 97"):
        hn.exact_topk(good, bad, 1)
    assert quantizer.n_seen == 150, "a call that fails changes nothing"
    reads.clear()
    hn.exact_topk(good, good, 1, query_ids=range(150), exclude=gpu.cp.asarray(np.full((150, 2), -1)))
    assert len(reads) == 1, "one flag comes back to the host"
    codes = quantizer.fit_encode(good)
    assert isinstance(codes.data, gpu.cp.ndarray)
    assert len(reads) == 2
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    quantizer.encode(bad)
    assert len(reads) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_exact_search(gpu, monkeypatch, similarity, dtype):
    """Blocks of both sides, labels, own ids, a row of zeros, and more columns than rows are allowed."""
    monkeypatch.setattr("hashneg.hamming.exact._DATABASE_ROWS", 32)
    monkeypatch.setattr("hashneg.hamming.exact._QUERY_ROWS", 5)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 33)).astype(dtype), rng.standard_normal((71, 33)).astype(dtype)
    y[5], y[40] = 0, y[20]
    arguments = {
        "query_ids": np.arange(12) * 5, "query_labels": np.arange(12) % 3, "database_labels": np.arange(71) % 3,
        "allow": rng.random((12, 71)) < 0.5,
    }  # fmt: skip
    expected = hn.exact_topk(x, y, 25, similarity=similarity, offset=7, **arguments)
    moved = {name: gpu.cp.asarray(value) for name, value in arguments.items()}
    found = hn.exact_topk(*map(gpu.cp.asarray, (x, y)), 25, similarity=similarity, offset=7, **moved)
    assert found.scores.dtype == expected.scores.dtype
    np.testing.assert_array_equal(found.indices.get(), expected.indices)
    np.testing.assert_allclose(found.scores.get(), expected.scores, atol=1e-6 if similarity == "cosine" else 1e-5)


def test_extreme_numbers_have_unit_length(gpu):
    x = np.array([[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0], [3.0, 4.0]])
    found = hn.exact_topk(gpu.cp.asarray(x), gpu.cp.asarray(x[3:]), 1)
    np.testing.assert_allclose(found.scores.get()[:, 0], [1, 1, 0, 1], rtol=1e-15)


def test_a_unit_row_does_not_depend_on_the_others(gpu):
    x = gpu.cp.asarray(projections.data(41, 37))
    whole = device_embeddings.unit_rows(x).get()
    np.testing.assert_array_equal(device_embeddings.unit_rows(x[7:8]).get()[0], whole[7])
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-6)


def test_embeddings_of_a_call_share_one_device(gpu):
    x = projections.data(20)
    there = gpu.cp.asarray(x)
    for pair in ((x, there), (there, x)):
        with pytest.raises(RuntimeError, match="share one device"):
            hn.exact_topk(*pair, 1)
    with pytest.raises(RuntimeError, match="backend='cpu' computes on arrays of the host"):
        hn.exact_topk(there, there, 1, backend="cpu")
    with pytest.raises(TypeError, match="x must be one of float16"):
        hn.BinaryQuantizer(2).fit(gpu.cp.asarray(x.astype(np.int32)))
    with pytest.raises(ValueError, match=r"x must have shape \(n, d\)"):
        hn.BinaryQuantizer(2).fit(there[0])


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_bfloat16_comes_as_its_bits(gpu, monkeypatch, name):
    """Arrays of the host stand for those of a device: what is tested is the way through DLPack."""
    framework = pytest.importorskip(name)
    monkeypatch.setattr(gpu.cp, "from_dlpack", lambda x: gpu.cp.ndarray(np.from_dlpack(x)), raising=False)
    x = projections.data(30)
    there = {
        "torch": lambda: framework.from_numpy(x).bfloat16(),
        "jax": lambda: framework.numpy.asarray(x, framework.numpy.bfloat16),
        "tensorflow": lambda: framework.cast(x, framework.bfloat16),
    }[name]()
    bits = cuda_arrays.from_device(there, name, "x").get()
    assert bits.dtype == np.uint16
    monkeypatch.setattr(cuda_arrays, "is_on_device", lambda x, _: not isinstance(x, np.ndarray))
    rows = device_embeddings.DeviceEmbeddings(there, "x").block(0, 30).get()
    np.testing.assert_array_equal(rows, (bits.astype(np.uint32) << 16).view(np.float32))
    assert np.abs(rows - x).max() < 0.01 * np.abs(x).max()
