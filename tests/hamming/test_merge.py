"""merge_topk: any order and grouping of the shards gives the same arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn

PAD = (2**31 - 1, -1)


@st.composite
def parts(draw: st.DrawFn, n_queries: int = 2, columns: int | None = None) -> hn.TopK:
    """Sorted rows of (distance, index) pairs from a small range, so that parts overlap; some are padded."""
    width = draw(st.integers(0, 6)) if columns is None else columns
    pair = st.tuples(st.integers(0, 3), st.integers(0, 9)) | st.just(PAD)
    rows = [sorted(draw(st.lists(pair, min_size=width, max_size=width))) for _ in range(n_queries)]
    table = np.array(rows, np.int64).reshape(n_queries, width, 2)
    return hn.TopK(table[..., 0].astype(np.int32), table[..., 1])


def merged_by_hand(found: list[hn.TopK], k: int) -> list[list[tuple[int, int]]]:
    rows = []
    for i in range(len(found[0].distances)):
        pairs = {
            (int(d), int(j))
            for part in found
            for d, j in zip(part.distances[i], part.indices[i], strict=True)
            if j >= 0
        }
        rows.append((sorted(pairs) + [PAD] * k)[:k])
    return rows


def as_rows(found: hn.TopK) -> list[list[tuple[int, int]]]:
    assert (found.distances.dtype, found.indices.dtype) == (np.int32, np.int64)
    return [list(zip(d, j, strict=True)) for d, j in zip(found.distances.tolist(), found.indices.tolist(), strict=True)]


@given(found=st.lists(parts(), min_size=1, max_size=4), k=st.integers(1, 12))
def test_equals_a_sorted_set_of_pairs(found, k):
    assert as_rows(hn.merge_topk(found, k)) == merged_by_hand(found, k)


@given(found=st.lists(parts(), min_size=2, max_size=4), k=st.integers(1, 8), data=st.data())
def test_is_commutative(found, k, data):
    other = data.draw(st.permutations(found))
    assert as_rows(hn.merge_topk(found, k)) == as_rows(hn.merge_topk(other, k))


@given(a=parts(), b=parts(), c=parts(), k=st.integers(1, 8))
def test_is_associative(a, b, c, k):
    left = hn.merge_topk([hn.merge_topk([a, b], k), c], k)
    right = hn.merge_topk([a, hn.merge_topk([b, c], k)], k)
    assert as_rows(left) == as_rows(right) == as_rows(hn.merge_topk([a, b, c], k))


@given(a=parts(), b=parts(), k=st.integers(1, 8))
def test_is_idempotent(a, b, k):
    once = hn.merge_topk([a, b], k)
    assert as_rows(hn.merge_topk([once, once], k)) == as_rows(once)
    assert as_rows(hn.merge_topk([a, b, a, b], k)) == as_rows(once)


def test_the_own_rank_has_no_advantage():
    """A gather that puts the own rank first changes the order (pytorch-metric-learning #639)."""
    a = hn.TopK(np.array([[1, 1]], np.int32), np.array([[5, 9]]))
    b = hn.TopK(np.array([[1, 1]], np.int32), np.array([[2, 7]]))
    assert hn.merge_topk([a, b], 4).indices.tolist() == hn.merge_topk([b, a], 4).indices.tolist() == [[2, 5, 7, 9]]


def test_indices_beyond_32_bits():
    a = hn.TopK(np.array([[3]], np.int32), np.array([[2**40]]))
    b = hn.TopK(np.array([[3]], np.int32), np.array([[2**40 - 1]]))
    assert hn.merge_topk([a, b], 3).indices.tolist() == [[2**40 - 1, 2**40, -1]]


def test_frameworks_go_in_and_come_out(framework):
    a = hn.TopK(framework.array(np.array([[1, 4]], np.int32)), framework.array(np.array([[7, 2]])))
    b = hn.TopK(framework.array(np.array([[1, 2]], np.int32)), framework.array(np.array([[3, 9]])))
    found = hn.merge_topk(iter([a, b]), 5)
    assert framework.to_numpy(found.distances).tolist() == [[1, 1, 2, 4, PAD[0]]]
    assert framework.to_numpy(found.indices).tolist() == [[3, 7, 9, 2, -1]]


ONE = hn.TopK(np.array([[1]], np.int32), np.array([[7]]))


@pytest.mark.parametrize(
    ("found", "k", "error", "words"),
    [
        ([], 3, ValueError, "parts must hold at least one"),
        ([ONE], 0, ValueError, "k must be at least 1"),
        ([ONE], True, TypeError, "k must be an integer"),
        ([ONE, np.zeros((1, 1))], 3, TypeError, r"parts\[1\] must be a TopK"),
        ([ONE, hn.TopK(np.zeros((2, 1), np.int32), np.zeros((2, 1), np.int64))], 3, ValueError, r"parts\[1\] has 2 q"),
        ([hn.TopK(ONE.distances, np.zeros((1, 2), np.int64))], 3, ValueError, r"parts\[0\].indices must have shape"),
        ([hn.TopK(np.zeros((1, 1)), ONE.indices)], 3, TypeError, r"parts\[0\].distances must hold integers"),
        (ONE, 3, TypeError, r"parts\[0\] must be a TopK"),
    ],
)
def test_bad_arguments_are_named(found, k, error, words):
    with pytest.raises(error, match=words):
        hn.merge_topk(found, k)
