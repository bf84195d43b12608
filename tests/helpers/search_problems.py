"""Search problems for property tests, and their answers by brute force over unpacked bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import hashneg as hn

PAD_DISTANCE, PAD_INDEX = 2**31 - 1, -1

#: Around the sizes where a kernel changes its path: bytes, words, blocks of 256 and 512 rows.
EDGE_ROWS = [0, 1, 2, 255, 256, 257, 511, 512, 513, 767, 1023, 1024, 1025, 1536, 2047, 2049, 3000]
EDGE_BITS = [1, 2, 7, 8, 9, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 511, 512, 513, 1000, 1024, 2047, 2048]
LAYOUTS = ["random", "few codes", "all equal", "farthest first", "clustered"]


def packed(bits: np.ndarray) -> hn.Codes:
    """Codes of a bool matrix, by NumPy's own packing."""
    return hn.Codes(np.packbits(bits, axis=1, bitorder="little"), bits.shape[1])


def all_distances(q: np.ndarray, x: np.ndarray, metric: str = "hamming") -> np.ndarray:
    """Distances of bool matrices, counted by matrix products: no packing, no popcount."""
    ones, other = q.astype(np.int64), x.astype(np.int64)
    only_q = ones @ (1 - other).T
    return only_q if metric == "projected" else only_q + (1 - ones) @ other.T


@dataclass
class Problem:
    """Bits to search, the arguments that exclude pairs, and which pairs these leave: bool (nq, n)."""

    queries: np.ndarray
    database: np.ndarray
    allowed: np.ndarray
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> tuple[hn.Codes, hn.Codes]:
        return packed(self.queries), packed(self.database)


def neighbours(problem: Problem, max_distance: int | None = None, metric: str = "hamming") -> list[list[tuple]]:
    """For every query all allowed (distance, index) pairs in order: the definition of the search."""
    table = all_distances(problem.queries, problem.database, metric)
    answer = []
    for i, row in enumerate(table.tolist()):
        limit = len(problem.queries[i]) if max_distance is None else max_distance
        answer.append(sorted((d, j) for j, d in enumerate(row) if problem.allowed[i, j] and d <= limit))
    return answer


def brute_force_topk(
    problem: Problem, k: int, max_distance: int | None = None, metric: str = "hamming", offset: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    distances = np.full((len(problem.queries), k), PAD_DISTANCE, np.int32)
    indices = np.full((len(problem.queries), k), PAD_INDEX, np.int64)
    for i, pairs in enumerate(neighbours(problem, max_distance, metric)):
        for j, (distance, index) in enumerate(pairs[:k]):
            distances[i, j], indices[i, j] = distance, index + offset
    return distances, indices


def make_bits(layout: str, nq: int, n: int, n_bits: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Query and database bits whose distances are spread in a way that a kernel may trip over."""
    if layout == "random":
        return rng.random((nq, n_bits)) < 0.5, rng.random((n, n_bits)) < 0.5
    if layout == "few codes":
        few = rng.random((3, n_bits)) < 0.5
        return few[rng.integers(0, 3, nq)], few[rng.integers(0, 3, n)]
    if layout == "all equal":
        one = rng.random(n_bits) < 0.5
        return np.tile(one, (nq, 1)), np.tile(one, (n, 1))
    if layout == "farthest first":  # thresholds fall until the last row
        q = np.tile(rng.random(n_bits) < 0.5, (nq, 1))
        differing = np.linspace(n_bits, 0, n).astype(int)
        return q, (q[0] if nq else np.zeros(n_bits, bool)) ^ (np.arange(n_bits) < differing[:, None])
    centers = rng.random((5, n_bits)) < 0.5
    return (
        centers[rng.integers(0, 5, nq)] ^ (rng.random((nq, n_bits)) < 0.1),
        centers[rng.integers(0, 5, n)] ^ (rng.random((n, n_bits)) < 0.1),
    )


def give_exclusions(problem: Problem, names: set[str], rng: np.random.Generator) -> None:
    """Add the named exclusions to `problem.arguments`, and clear the pairs they exclude in `problem.allowed`."""
    (nq, n), allowed, arguments = problem.allowed.shape, problem.allowed, problem.arguments
    if "query_ids" in names:
        ids = rng.integers(-1, n, nq)
        allowed[np.flatnonzero(ids >= 0), ids[ids >= 0]] = False
        arguments["query_ids"] = ids
    if "labels" in names:
        values = np.array([-1, 0, 7, 2**62, -(2**62)])
        own, other = values[rng.integers(0, 5, nq)], values[rng.integers(0, 5, n)]
        allowed &= own[:, None] != other[None, :]
        arguments |= {"query_labels": own, "database_labels": other}
    if "exclude" in names:
        lists = rng.integers(-1, n, (nq, int(rng.integers(0, 20))))
        for i, row in enumerate(lists):
            allowed[i, row[row >= 0]] = False
        arguments["exclude"] = lists
    elif "exclude all" in names and n:
        lists = np.tile(np.arange(n), (nq, 1))
        lists[::2] = -1  # the odd queries may return nothing
        allowed[1::2] = False
        arguments["exclude"] = lists
    if masks := sorted(name for name in names if name.startswith("allow")):
        arguments["allow"] = make_mask(masks[0], allowed, rng)


ALLOW_KINDS = [
    "allow shared",
    "allow each",
    "allow packed",
    "allow packed each",
    "allow strided",
    "allow reversed",
    "allow broadcast",
    "allow nothing",
    "allow few",
]


def make_mask(kind: str, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An allow-mask of this kind; `allowed` loses, in place, the pairs that it does not allow."""
    nq, n = allowed.shape
    each = rng.random((nq, n)) < (0.01 if kind == "allow few" else 0.6)
    shared = rng.random(n) < 0.6
    if kind in ("allow shared", "allow packed", "allow broadcast"):
        allowed &= shared
        if kind == "allow packed":
            noise = np.uint8(0xFF << (n % 8) & 0xFF) if n % 8 else np.uint8(0)  # bits beyond n must not matter
            mask = np.packbits(shared, bitorder="little")
            mask[-1:] |= noise
        else:
            mask = np.broadcast_to(shared, (nq, n)) if kind == "allow broadcast" else shared
    elif kind == "allow nothing":
        allowed[:] = False
        mask = np.zeros(n, bool)
    else:
        allowed &= each
        if kind == "allow packed each":
            mask = np.packbits(each, axis=1, bitorder="little")
        elif kind == "allow strided":
            mask = np.repeat(each, 2, axis=1)[:, ::2]
        elif kind == "allow reversed":
            mask = each[::-1].copy()[::-1]
        else:
            mask = each
    mask.flags.writeable = False
    return mask


EXCLUSIONS = ["query_ids", "labels", "exclude", "exclude all", *ALLOW_KINDS]


@st.composite
def problems(draw: st.DrawFn, max_rows: int = 3000, max_queries: int = 9) -> Problem:
    """Arbitrary sizes, layouts and exclusions; shrinks towards few rows of few random bits."""
    edges = [n for n in EDGE_ROWS if n <= max_rows]
    n = draw(st.integers(0, min(40, max_rows)) | st.sampled_from(edges) | st.integers(0, max_rows))
    nq = draw(st.integers(0, max_queries))
    n_bits = draw(st.integers(1, 70) | st.sampled_from(EDGE_BITS) | st.integers(1, 2048))
    layout = draw(st.sampled_from(LAYOUTS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, database = make_bits(layout, nq, n, n_bits, rng)
    problem = Problem(queries, database, np.ones((nq, n), bool))
    give_exclusions(problem, draw(st.sets(st.sampled_from(EXCLUSIONS), max_size=3)), rng)
    return problem


def assert_same(found: Any, expected: tuple[np.ndarray, np.ndarray]) -> None:
    """`found` is a TopK that equals the expected arrays bit for bit, dtypes and shapes included."""
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
    np.testing.assert_array_equal(found.distances, expected[0])
    np.testing.assert_array_equal(found.indices, expected[1])
