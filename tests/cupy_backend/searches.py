"""Searches through the backend's table functions, with every array moved to the emulated device."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from hashneg.backends.request import Database, Exclusions, Search
from hashneg.hamming import exclusions
from hashneg.progress import Meter


def on_device(gpu: Any, masks: Exclusions) -> Exclusions:
    """Exclusions whose arrays lie on the device, with the strides that they had."""
    moved = {}
    for field in fields(masks):
        value = getattr(masks, field.name)
        moved[field.name] = gpu.cp.ndarray(value) if isinstance(value, np.ndarray) else value
    return replace(masks, **moved)


def request(problem: Any, limit: int | None = None, metric: str = "hamming", probe: float = 1.0) -> Search:
    nq, n = problem.allowed.shape
    n_bits = problem.queries.shape[1]
    masks = exclusions.build(nq, n, **problem.arguments)
    return Search(n_bits, n_bits if limit is None else min(limit, n_bits), masks, metric, probe)


def database(gpu: Any, problem: Any, **more: Any) -> Database:
    codes = problem.codes[1]
    return Database(gpu.cp.asarray(codes.data), codes.n_bits, **more)


def topk(gpu: Any, problem: Any, k: int, search: Search, base: Database | None = None) -> tuple[np.ndarray, np.ndarray]:
    base = database(gpu, problem) if base is None else base
    search = replace(search, exclusions=on_device(gpu, search.exclusions))
    with Meter(False, len(problem.queries), "") as meter:
        found = gpu.search.topk(base, gpu.cp.asarray(problem.codes[0].data), k, search, 1, meter)
    return tuple(part.get() for part in found)


def range_search(gpu: Any, problem: Any, search: Search) -> tuple[np.ndarray, ...]:
    search = replace(search, exclusions=on_device(gpu, search.exclusions))
    queries = gpu.cp.asarray(problem.codes[0].data)
    with Meter(False, len(problem.queries), "") as meter:
        found = gpu.search.range_search(database(gpu, problem), queries, search, 1, meter)
    return tuple(part.get() for part in found)


def assert_topk(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    assert [part.dtype for part in found] == [np.int32, np.int64]
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
