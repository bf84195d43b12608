"""The public functions on arrays of an (emulated) device: results stay there, and nothing goes through the host."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import all_distances, brute_force_topk, neighbours
from searches import assert_topk
from test_emulated_search import problem_of

import hashneg as hn
from hashneg import backends


def moved(gpu, problem):
    q, x = (hn.Codes(gpu.cp.asarray(codes.data), codes.n_bits) for codes in problem.codes)
    return q, x, {name: gpu.cp.ndarray(np.asarray(value)) for name, value in problem.arguments.items()}


@pytest.mark.parametrize("kind", ["allow each", "allow packed", "exclude", "labels"])
def test_search_on_the_device(gpu, kind):
    problem = problem_of("clustered", 5, 600, 250, kind, "query_ids")
    q, x, arguments = moved(gpu, problem)
    found = hn.hamming_topk(q, x, 9, **arguments, max_distance=100, offset=7)
    assert {type(part) for part in found} == {gpu.cp.ndarray}
    assert_topk(tuple(part.get() for part in found), brute_force_topk(problem, 9, 100, offset=7))
    found = hn.hamming_range(q, x, 60, **arguments, backend="cupy")
    assert found.indices.get().tolist() == [row for pairs in neighbours(problem, 60) for _, row in pairs]
    far = hn.hamming_distances(q, x, metric="projected").get()
    np.testing.assert_array_equal(far, all_distances(problem.queries, problem.database, "projected"))


def test_raw_bytes_and_sequences(gpu):
    raw = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    found = hn.hamming_topk(gpu.cp.asarray(raw), gpu.cp.asarray(raw), 3, query_ids=range(40))
    expected = hn.hamming_topk(raw, raw, 3, query_ids=range(40), backend="reference")
    assert_topk(tuple(part.get() for part in found), expected)


def test_codes_on_the_device(gpu, tmp_path):
    raw = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    codes = hn.Codes(gpu.cp.asarray(raw), 24)
    assert len(codes) == 40
    np.testing.assert_array_equal(codes[3:7].data.get(), raw[3:7])
    here = hn.Codes(raw, 24)
    for key in (np.array([3, 0, 3]), np.arange(40) % 7 == 2, [5, -1]):
        moved_key = gpu.cp.asarray(key) if isinstance(key, np.ndarray) else key
        np.testing.assert_array_equal(codes[moved_key].data.get(), here[key].data)
    np.testing.assert_array_equal(codes[-1].data.get(), raw[-1:])
    np.testing.assert_array_equal(codes.to_packbits("big").get(), here.to_packbits("big"))
    odd = np.random.default_rng(1).standard_normal((9, 21))
    np.testing.assert_array_equal(hn.Codes(gpu.cp.asarray(hn.Codes.from_signs(odd).data), 21).to_signs().get(),
                                  np.where(odd >= 0, 1, -1))  # fmt: skip
    codes.save(tmp_path / "codes.safetensors")
    np.testing.assert_array_equal(hn.Codes.load(tmp_path / "codes.safetensors").data, raw)
    with pytest.raises(RuntimeError, match=r"key is a numpy array .* share one device"):
        codes[np.array([1])]
    with pytest.raises(ValueError, match="bits set beyond n_bits=20"):
        hn.Codes(gpu.cp.asarray(raw), 20)


def test_arrays_of_a_call_share_one_device(gpu):
    raw = np.zeros((4, 2), np.uint8)
    there = gpu.cp.asarray(raw)
    with pytest.raises(RuntimeError, match="share one device"):
        hn.hamming_topk(there, raw, 1)
    with pytest.raises(RuntimeError, match=r"query_ids is a numpy array .* share one device"):
        hn.hamming_topk(there, there, 1, query_ids=np.arange(4))
    with pytest.raises(RuntimeError, match="no backend of this hashneg runs on that device"):
        hn.hamming_topk(raw, raw, 1, query_ids=gpu.cp.asarray(np.arange(4)))
    with pytest.raises(RuntimeError, match="backend='cpu' computes on arrays of the host"):
        hn.hamming_topk(there, there, 1, backend="cpu")
    with pytest.raises(RuntimeError, match=r"backend 'cupy' computes on CUDA arrays, got numpy\.ndarray"):
        hn.hamming_topk(raw, raw, 1, backend="cupy")


def test_wrong_ids_are_named(gpu):
    there = gpu.cp.asarray(np.zeros((4, 2), np.uint8))
    with pytest.raises(ValueError, match=r"query_ids\[2\] is 9; ids must be rows 0 to 3"):
        hn.hamming_topk(there, there, 1, query_ids=gpu.cp.asarray(np.array([0, 1, 9, 2])))


def test_what_has_no_path_on_the_device_refuses_it(gpu):
    ids = gpu.cp.asarray(np.zeros((4, 2), np.int64))
    for call in (lambda: hn.merge_topk([hn.TopK(ids, ids)], 1), lambda: hn.overlap_at_k(ids, ids)):
        with pytest.raises(RuntimeError, match="runs on that device"):
            call()


@pytest.mark.parametrize(("refused", "task"), [("uint32", "a database"), ("uint64", "a top-k search")])
def test_out_of_memory_names_the_bytes(gpu, monkeypatch, refused, task):
    """Of the rows of the database, or of the queries: the message says which chunk would fit."""
    empty = gpu.device.empty

    def full(shape, dtype):
        if dtype == refused:
            raise gpu.cp.OutOfMemoryError("no room")
        return empty(shape, dtype)

    there = gpu.cp.asarray(np.zeros((4, 2), np.uint8))
    monkeypatch.setattr(gpu.device, "empty", full)
    with pytest.raises(MemoryError, match=rf"{task} of 4 rows needs \d+ bytes .* chunks of 3 rows would fit"):
        hn.hamming_topk(there, there, 1)


def test_the_table_says_why_a_device_is_missing(gpu, monkeypatch):
    def none():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    assert next(row for row in hn.backends() if row.name == "cupy").available
    backends._why_missing.cache_clear()
    monkeypatch.setattr(gpu.cp.cuda.runtime, "getDeviceCount", none)
    row = next(row for row in hn.backends() if row.name == "cupy")
    assert "needs a CUDA device and its driver" in row.why


def test_the_host_reads_one_flag_to_check_all_ids(gpu, monkeypatch):
    """A read waits for the device, so that a call may cost one at most; none where values are not checked."""
    reads = []
    monkeypatch.setattr(gpu.cp.ndarray, "__bool__", lambda self: reads.append(1) or bool(self.values))
    monkeypatch.setattr(gpu.cp.ndarray, "__int__", lambda self: reads.append(1) or int(self.values))
    get = gpu.cp.ndarray.get
    monkeypatch.setattr(gpu.cp.ndarray, "get", lambda self: reads.append(1) or get(self))
    problem = problem_of("random", 3, 40, 24, "query_ids", "exclude", "labels", "allow each")
    assert problem.arguments["exclude"].size
    for flags in (["HASHNEG_CHECK=1", 1], ["HASHNEG_CHECK=0", 0]):
        monkeypatch.setenv(*flags[0].split("="))
        queries, rows, arguments = moved(gpu, problem)
        reads.clear()
        hn.hamming_topk(queries, rows, 5, **arguments)
        assert sum(reads) == flags[1]


def test_arrays_of_another_device_are_refused(gpu):
    problem = problem_of("random", 3, 40, 24, "query_ids", "exclude", "labels", "allow each")
    queries, rows, arguments = moved(gpu, problem)
    elsewhere = hn.Codes(gpu.cp.ndarray(problem.codes[1].data, number=1), 24)
    for call in (
        lambda: hn.hamming_topk(queries, elsewhere, 1),
        lambda: hn.hamming_range(queries, elsewhere, 1),
        lambda: hn.hamming_distances(queries, elsewhere),
    ):
        with pytest.raises(RuntimeError, match=r"on <CUDA Device 0> and .* on <CUDA Device 1>; all arrays of a call"):
            call()
    launches = dict(gpu.cp.RawKernel.launches)
    for name, values in arguments.items():
        other = gpu.cp.ndarray(values.get(), number=1)
        with pytest.raises(
            RuntimeError, match=f"{name} is a cupy array .* on <CUDA Device 1>, but the queries lie on CUDA device 0"
        ):
            hn.hamming_topk(queries, rows, 1, **arguments | {name: other})
    assert gpu.cp.RawKernel.launches == launches


def test_strides_make_no_difference_and_nothing_given_is_written_to(gpu):
    problem = problem_of("random", 5, 300, 64, "query_ids", "exclude", "labels", "allow strided")
    expected = brute_force_topk(problem, 9)
    queries, rows = problem.codes
    arguments = {name: np.array(value) for name, value in problem.arguments.items()}
    layouts = {
        "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
        "reversed": lambda x: x[::-1].copy()[::-1],
        "by columns": np.asfortranarray,
    }
    for change in layouts.values():
        given = {"queries": queries.data, "database": rows.data, **arguments}
        changed = {name: change(values) for name, values in given.items()}
        there = {name: gpu.cp.ndarray(values) for name, values in changed.items()}
        found = hn.hamming_topk(there.pop("queries"), there.pop("database"), 9, **there)
        assert_topk(tuple(part.get() for part in found), expected)
        for name, values in given.items():
            np.testing.assert_array_equal(changed[name], values)


@pytest.mark.parametrize(
    "operation", ["hamming_distances", "hamming_range", "encode", "exact_topk", "topk of an index"]
)
def test_every_operation_explains_that_memory_ran_out(gpu, monkeypatch, operation):
    """And goes on where there is room again."""
    codes = gpu.cp.asarray(np.zeros((4, 2), np.uint8))
    x = np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32)
    quantizer, index, there = hn.BinaryQuantizer(16).fit(x), hn.HammingIndex(codes), gpu.cp.asarray(x)
    call = {
        "hamming_distances": lambda: hn.hamming_distances(codes, codes),
        "hamming_range": lambda: hn.hamming_range(codes, codes, 3),
        "encode": lambda: quantizer.encode(there),
        "exact_topk": lambda: hn.exact_topk(there, there, 2),
        "topk of an index": lambda: index.topk(codes, 2),
    }[operation]

    def full(*_):
        raise gpu.cp.OutOfMemoryError("no room")

    with monkeypatch.context() as tight:
        tight.setattr(gpu.device, "empty", full)
        tight.setattr(gpu.cp.ndarray, "__matmul__", full)
        with pytest.raises(MemoryError, match=r"of \d+ rows needs \d+ bytes of device memory and \d+ are free; .* fit"):
            call()
    assert call() is not None


def test_a_result_that_could_not_be_written_in_place_is_refused(gpu):
    best = gpu.cp.full((3, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="best is not C-contiguous, and the result is written to it"):
        gpu.device.changed(best[:, ::2], "best")


def test_a_driver_without_a_device_is_named(gpu, monkeypatch):
    backends._why_missing.cache_clear()
    monkeypatch.setattr(gpu.cp.cuda.runtime, "getDeviceCount", lambda: 0)
    there = gpu.cp.asarray(np.zeros((4, 2), np.uint8))
    assert "there is a driver, but it shows no device" in next(row.why for row in hn.backends() if row.name == "cupy")
    with pytest.raises(RuntimeError, match=r"shows no device|no backend of this hashneg runs on that device"):
        hn.hamming_topk(there, there, 1)
