"""Projections, codes and similarities, simulated: codes within contract 6, the rest against the oracle."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import projections
from helpers.faults import faulty_copy

import hashneg as hn
from hashneg.backends import implementation
from hashneg.backends.numba_cuda import device, projection, similarity
from hashneg.backends.request import Exclusions, Projection

RNG = np.random.default_rng(3)
N_BITS = {"orthogonal": 27, "hadamard": 21, "identity": 16, "itq": 11}
WIDTH = 16


def fitted(rotation: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> tuple[hn.BinaryQuantizer, np.ndarray]:
    """A quantizer fitted by the oracle, and rows that it has not seen."""
    x = projections.data(60, WIDTH, dtype)
    monkeypatch.setenv("HASHNEG_BACKEND", "reference")
    quantizer = hn.BinaryQuantizer(N_BITS[rotation], rotation=rotation).fit(x[:50])
    quantizer.thresholds  # noqa: B018  (computed when first read)
    monkeypatch.setenv("HASHNEG_BACKEND", "numba_cuda")
    return quantizer, x[50:54]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rotation", N_BITS)
def test_bits_differ_from_the_exact_ones_only_near_zero(monkeypatch, rotation, dtype):
    quantizer, x = fitted(rotation, dtype, monkeypatch)
    z, near = projections.exact(quantizer, x), projections.tolerance(quantizer, x)
    found, codes = quantizer.project(x), quantizer.encode(x)
    assert found.dtype == dtype
    assert np.all(np.abs(found - z) <= near)
    assert np.all((projections.bits(codes) == (z >= 0)) | (np.abs(z) <= near))
    np.testing.assert_array_equal(projections.bits(codes), found >= 0)


@pytest.mark.parametrize("rotation", ["orthogonal", "hadamard"])
def test_a_row_does_not_depend_on_the_others(monkeypatch, rotation):
    """Tiles of one row, and strides that are not those of a whole matrix."""
    quantizer, x = fitted(rotation, np.float32, monkeypatch)
    whole = quantizer.project(x)
    monkeypatch.setattr(projection, "_TILE_BYTES", 1)
    np.testing.assert_array_equal(quantizer.project(x), whole)
    np.testing.assert_array_equal(quantizer.project(x[1:2]), whole[1:2])


def test_zero_counts_as_positive_and_padding_bits_are_zero():
    rows = np.array([[0.0, -0.0, -1e-45, 1e-45, -1, 1, 0, 0, 0, -2]], np.float32)
    codes = implementation("encode", "numba_cuda")(rows, Projection("identity", np.zeros(10)))
    np.testing.assert_array_equal(codes, np.packbits(rows >= 0, axis=1, bitorder="little"))


@pytest.mark.parametrize("rows", [np.zeros((0, 5), np.float32), RNG.standard_normal((23, 5)).astype(np.float32)])
def test_column_sums_are_those_of_the_oracle_bit_for_bit(rows):
    total, expected = np.full(5, 0.1), np.full(5, 0.1)
    for part in (rows[:7], rows[7:]):
        implementation("add_columns", "numba_cuda")(total, part)
    implementation("add_columns", "reference")(expected, rows)
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pair_scores(cosine, dtype):
    anchors, rows = RNG.standard_normal((4, 9)).astype(dtype), RNG.standard_normal((12, 9)).astype(dtype)
    anchors[1], rows[3], rows[7] = 0, 0, rows[2]
    which = RNG.integers(-1, 12, (4, 6))
    which[2] = [2, 7, -1, 2, 7, 3]
    found, expected = (
        implementation("pair_scores", backend)(anchors, rows, which, cosine) for backend in ("numba_cuda", "reference")
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert len(set(found[2, [0, 1, 3, 4]])) == 1, "equal rows have equal scores"
    assert implementation("pair_scores", "numba_cuda")(anchors[:0], rows, which[:0], cosine).shape == (0, 6)


@pytest.mark.parametrize("k", [1, 4, 40])
def test_the_best_of_all_pairs(k):
    """Integers make exact products and many ties; the database comes in pieces, one of them empty."""
    queries, database = (RNG.integers(-2, 3, (n, 4)).astype(np.float32) for n in (5, 30))
    masks = Exclusions(query_ids=np.array([3, -1, 0, 29, 1]), allow=(RNG.random((5, 30)) < 0.6).astype(np.uint8))
    results = []
    for backend in ("numba_cuda", "reference"):
        best, found = np.full((5, k), np.nan, np.float32), np.full((5, k), -1)
        for start, stop in ((0, 11), (11, 11), (11, 30)):
            implementation("update_best", backend)(best, found, queries, database[start:stop], start, masks)
        results.append((best, found))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_mining_gives_what_the_oracle_gives(monkeypatch):
    monkeypatch.delenv("HASHNEG_BACKEND")
    x = RNG.standard_normal((30, 8)).astype(np.float32)
    found, expected = (
        hn.mine_hard_negatives(x, k=3, quantizer=20, positives=np.arange(30)[::-1].copy(), backend=backend)
        for backend in ("numba_cuda", "reference")
    )
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_exact_search_gives_what_the_oracle_gives(similarity):
    x = RNG.standard_normal((9, 8)).astype(np.float32)
    found, expected = (
        hn.exact_topk(x[:4], x, 3, similarity=similarity, query_ids=range(4), backend=backend)
        for backend in ("numba_cuda", "reference")
    )
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6)


def test_a_table_gives_what_the_oracle_gives(monkeypatch):
    """Updated, refreshed and mined, with ids that come twice and rows that were never written."""
    x, ids, tables = RNG.standard_normal((20, 8)).astype(np.float32), np.array([3, 9, 3, 17]), []
    for backend in ("numba_cuda", "reference"):
        monkeypatch.setenv("HASHNEG_BACKEND", backend)
        table = hn.CodeTable(20, hn.BinaryQuantizer(12).fit(x), labels=np.arange(20) // 2)
        table.update(ids, x[ids])
        table.refresh(x, chunks=2)
        tables.append((table.mine(range(12), 4), table.state_dict()["codes"]))
    np.testing.assert_array_equal(tables[0][0].distances, tables[1][0].distances)
    np.testing.assert_array_equal(tables[0][0].indices, tables[1][0].indices)
    np.testing.assert_array_equal(tables[0][1], tables[1][1])


FAULTS = {
    "a bit that is 1 above zero only": ("pack_signs", ">= 0:", "> 0:"),
    "a missing barrier": ("transform", "    cuda.syncthreads()\n            for pair", "    for pair"),
    "half of a round": ("transform", "while half < width:", "while 2 * half < width:"),
    "the last dimension forgotten": ("dot_products", "range(1, a.shape[1])", "range(1, a.shape[1] - 1)"),
    "an equal score put in front": ("merge_scores", "score > best[q, at - 1]", "score >= best[q, at - 1]"),
    "cosine without one of the lengths": ("score_pairs", "math.sqrt(own) * ", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    """The tests above fail on a kernel that is wrong."""
    project = test_bits_differ_from_the_exact_ones_only_near_zero
    module, test = {
        "pack_signs": (projection, test_zero_counts_as_positive_and_padding_bits_are_zero),
        "transform": (projection, lambda: project(monkeypatch, "hadamard", np.float32)),
        "dot_products": (projection, lambda: project(monkeypatch, "orthogonal", np.float32)),
        "merge_scores": (similarity, lambda: test_the_best_of_all_pairs(4)),
        "score_pairs": (similarity, lambda: test_pair_scores(True, np.float32)),
    }[FAULTS[fault][0]]
    kernel, sound, faulty = FAULTS[fault]
    monkeypatch.setattr(module, kernel, getattr(faulty_copy(module, sound, faulty), kernel))
    with pytest.raises(AssertionError):
        test()


OUT_OF_MEMORY = "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"


def test_out_of_memory_names_the_bytes_and_a_chunk_that_fits(monkeypatch):
    """The driver's error becomes one that a reader can act on, and the call leaves nothing changed."""

    def refuse(*arguments, **options):
        raise RuntimeError(OUT_OF_MEMORY)

    monkeypatch.setattr(device.cuda, "device_array", refuse)
    free = SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=6000, total=10**9))
    monkeypatch.setattr(device.cuda, "current_context", lambda: free)
    codes = np.zeros((100, 8), np.uint8)
    with pytest.raises(
        MemoryError, match="distances of 100 rows needs 42400 bytes of device memory and 6000 are free; chunks of 12 "
    ):
        hn.hamming_distances(codes, codes)
    with pytest.raises(MemoryError, match=r"a top-k search of 100 rows needs \d+ bytes .* no chunk would fit"):
        hn.hamming_topk(codes, codes, 3)
    best, found = np.full((2, 3), np.nan, np.float32), np.full((2, 3), -1)
    with pytest.raises(MemoryError, match="an exact search of 9 rows"):
        implementation("update_best", "numba_cuda")(best, found, best, np.zeros((9, 3), np.float32), 0, Exclusions())
    assert np.isnan(best).all()
    assert (found == -1).all()


def test_other_errors_of_the_driver_pass_unchanged(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(device.cuda, "device_array", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        hn.hamming_distances(np.zeros((2, 1), np.uint8), np.zeros((2, 1), np.uint8))


def test_an_array_that_cannot_be_written_to_is_refused():
    best, found = np.full((1, 2), np.nan, np.float32), np.full((1, 2), -1)
    found.flags.writeable = False
    rows = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="found is read-only"):
        similarity.update_best(best, found, rows[:1], rows, 0, Exclusions())
    assert np.isnan(best).all()


class OnDevice:
    """Says that it lies on a device."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.__cuda_array_interface__ = {"data": (0, False), "shape": (0, 1), "typestr": "|u1", "version": 3}

    def __len__(self) -> int:
        return 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number


def test_without_the_simulator_arrays_must_lie_on_the_device(monkeypatch):
    monkeypatch.setattr(device, "SIMULATED", False)
    monkeypatch.setattr(device.cuda, "get_current_device", lambda: SimpleNamespace(id=1), raising=False)
    with pytest.raises(RuntimeError, match=r"computes on CUDA arrays, got <class 'numpy.ndarray'>; move"):
        device.view(np.zeros(3))
    with pytest.raises(RuntimeError, match="an array lies on CUDA device 2, the others on 1"):
        device.view(OnDevice(2))


STREAMS = {
    "cupy": {"get_current_stream": lambda: SimpleNamespace(ptr=77)},
    "torch": {"current_stream": lambda: SimpleNamespace(cuda_stream=77), "is_initialized": lambda: True},
}


@pytest.mark.parametrize("module", STREAMS)
def test_kernels_run_on_the_stream_of_the_framework(monkeypatch, module):
    """Only an array that was made on another stream is waited for."""
    for name in ("cupy", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    waits = []
    monkeypatch.setattr(device, "SIMULATED", False)
    monkeypatch.setattr(device, "number", lambda: 0)
    monkeypatch.setattr(device.cuda, "external_stream", lambda pointer: f"stream {pointer}", raising=False)
    monkeypatch.setattr(device.cuda, "as_cuda_array", lambda x, sync: waits.append(sync), raising=False)
    made_on_77, made_on_1 = OnDevice(0), OnDevice(0)
    made_on_77.__cuda_array_interface__["stream"], made_on_1.__cuda_array_interface__["stream"] = 77, 1
    assert device.stream() == 0
    device.view(made_on_77)
    device.view(made_on_1)
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(cuda=SimpleNamespace(**STREAMS[module])))
    assert device.stream() == "stream 77"
    for x in (made_on_77, made_on_1, OnDevice(0)):
        device.view(x)
    assert waits == [True, False, False, True, False]
