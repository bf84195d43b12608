"""A database on the host searched by queries on the (emulated) device: results, and the waits between the streams."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import LAYOUTS, brute_force_topk
from searches import assert_topk
from test_emulated_search import problem_of
from test_public import moved

import hashneg as hn


def search(gpu, problem, k, chunk_rows=None, database=None, **more):
    queries, _, arguments = moved(gpu, problem)
    for name in ("database_labels", "allow"):
        if name in arguments:
            arguments[name] = problem.arguments[name]  # stays on the host
    database = problem.codes[1] if database is None else database
    return hn.stream_topk(queries, database, k, **arguments, chunk_rows=chunk_rows, **more)


def check(gpu, problem, k, chunk_rows=None, database=None, limit=None, metric="hamming", offset=0):
    found = search(gpu, problem, k, chunk_rows, database, max_distance=limit, metric=metric, offset=offset)
    assert {type(part) for part in found} == {gpu.cp.ndarray}
    assert_topk(tuple(part.get() for part in found), brute_force_topk(problem, k, limit, metric, offset))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_make_no_difference(gpu, layout):
    problem = problem_of(layout, 5, 700, 256, "query_ids", "exclude")
    for chunk_rows in (None, 33, 256, 700):
        check(gpu, problem, 20, chunk_rows, offset=3)


@pytest.mark.parametrize("kind", ["allow shared", "allow packed", "allow nothing"])
def test_labels_and_masks_travel_with_their_rows(gpu, kind):
    problem = problem_of("clustered", 4, 301, 70, "labels", kind)
    check(gpu, problem, 40, 37, limit=30, metric="projected")


def test_the_bit_sliced_layout(gpu, monkeypatch):
    monkeypatch.setattr(gpu.layout, "on_tensor_core", lambda: False)
    check(gpu, problem_of("few codes", 3, 2500, 256, "labels"), 30, 1100)


def test_a_database_in_parts(gpu):
    problem = problem_of("few codes", 3, 130, 24, "query_ids")
    codes = problem.codes[1]
    check(gpu, problem, 9, 50, database=[codes[:7], codes[7:100].data, codes[100:100], codes[100:]])
    check(gpu, problem, 9, 7, database=(codes[:130],))


ALL_WAITS = [(copies, kernels) for copies in (False, True) for kernels in (False, True)]


def search_late(gpu, monkeypatch, copies: bool, kernels: bool) -> bool:
    """Whether a search in chunks is right where copies or kernels run as late as a device may run them."""
    monkeypatch.setattr(gpu.cp.Stream, "late", copies)
    monkeypatch.setattr(gpu.cp.Stream.null, "late", kernels, raising=False)
    problem = problem_of("random", 3, 400, 256)
    found = search(gpu, problem, 30, 64)
    monkeypatch.undo()
    expected = brute_force_topk(problem, 30)
    return all(np.array_equal(got.get(), wanted) for got, wanted in zip(found, expected, strict=True))


@pytest.mark.parametrize(("copies", "kernels"), ALL_WAITS)
def test_results_do_not_depend_on_what_runs_first(gpu, monkeypatch, copies, kernels):
    assert search_late(gpu, monkeypatch, copies, kernels)


def no_wait_of_host(gpu, monkeypatch):
    monkeypatch.setattr(gpu.cp.Event, "synchronize", lambda self: None)


def no_wait_of_kernels(gpu, monkeypatch):
    monkeypatch.setattr(gpu.cp.Stream.null, "wait_event", lambda event: None, raising=False)


def no_wait_of_copies(gpu, monkeypatch):
    wait = gpu.cp.Stream.wait_event
    monkeypatch.setattr(
        gpu.cp.Stream, "wait_event", lambda self, event: wait(self, event) if self is gpu.cp.Stream.null else None
    )


@pytest.mark.parametrize("fault", [no_wait_of_host, no_wait_of_kernels, no_wait_of_copies])
def test_a_missing_wait_shows(gpu, monkeypatch, fault):
    caught = []
    for copies, kernels in ALL_WAITS:
        with monkeypatch.context() as planted:
            fault(gpu, planted)
            caught.append(not search_late(gpu, planted, copies, kernels))
    assert any(caught)
    assert not caught[0]  # where everything runs at once, no wait is needed


def test_the_chunk_follows_from_the_free_memory(gpu, monkeypatch):
    sizes = []
    of = gpu.layout.TensorLayout.of
    monkeypatch.setattr(
        gpu.layout.TensorLayout, "of", lambda codes, *more: sizes.append(len(codes)) or of(codes, *more)
    )
    monkeypatch.setattr(gpu.streaming, "_FEWEST_ROWS", 1)
    problem = problem_of("random", 2, 500, 256)
    needed = gpu.streaming.WORKSPACE_BYTES + 2 * (8 * 1034 + 12 * 10 + 5 * 256 + 64)
    for rows in (123, 10_000):
        monkeypatch.setattr(gpu.device, "free_bytes", lambda rows=rows: needed + rows * (2 * 32 + 52))
        check(gpu, problem, 10)
    assert sizes == [123, 123, 123, 123, 8, 500]


def test_a_chunk_that_does_not_fit_is_refused(gpu, monkeypatch):
    empty = gpu.device.empty

    def full(shape, dtype):
        if shape[0] > 300:
            raise gpu.cp.OutOfMemoryError("no room")
        return empty(shape, dtype)

    monkeypatch.setattr(gpu.device, "empty", full)
    monkeypatch.setattr(gpu.device, "free_bytes", lambda: 600 << 20)
    problem = problem_of("random", 2, 4_000, 256)
    with pytest.raises(MemoryError, match=r"chunks of 3000 rows needs \d+ bytes .* chunks of \d+ rows would fit"):
        search(gpu, problem, 10, 3000)


def test_wrong_arguments_are_named(gpu):
    problem = problem_of("random", 2, 40, 24)
    queries, there, _ = moved(gpu, problem)
    here = problem.codes[1]
    with pytest.raises(RuntimeError, match=r"queries is a numpy array .* hamming_topk on the host"):
        hn.stream_topk(here, here, 1)
    for database in (there, [here, there]):
        with pytest.raises(RuntimeError, match=r"database(\[1\])? is a cupy array .* takes it from the host"):
            hn.stream_topk(queries, database, 1)
    with pytest.raises(ValueError, match=r"database\[1\] has n_bits=16 but queries has n_bits=24"):
        hn.stream_topk(queries, [here, np.zeros((2, 2), np.uint8)], 1)
    with pytest.raises(ValueError, match="labels exclude only when both sides have them: query_labels is missing"):
        hn.stream_topk(queries, here, 1, database_labels=np.zeros(40, int))
    with pytest.raises(RuntimeError, match=r"query_labels is a numpy array .* share one device"):
        hn.stream_topk(queries, here, 1, query_labels=np.zeros(2, int), database_labels=np.zeros(40, int))
    with pytest.raises(ValueError, match=r"allow as bool must have shape \(40,\)"):
        hn.stream_topk(queries, here, 1, allow=np.ones((2, 40), bool))
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        hn.stream_topk(queries, here, 1, chunk_rows=0)


def test_a_backend_without_streaming_is_refused(gpu, monkeypatch):
    problem = problem_of("random", 2, 40, 24)
    monkeypatch.setattr("hashneg.hamming.streaming.choose_backend", lambda on_device: "numba_cuda")
    with pytest.raises(RuntimeError, match="needs the backend 'cupy', and 'numba_cuda' was chosen"):
        search(gpu, problem, 1)
