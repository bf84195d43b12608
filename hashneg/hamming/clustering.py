"""An order of the database in which a block of rows holds similar codes.

Recursive bisection: a node is split by which of two opposite codes a row is closer to. All
arithmetic is on integers, so the order is the same on every machine and backend.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hashneg.backends.request import BLOCK_ROWS, Clustering

_SAMPLE = 1024
_REFINEMENTS = 4

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cluster(codes: np.ndarray, n_bits: int, distances: Distances) -> Clustering:
    """Order `codes` by recursive bisection into blocks of `BLOCK_ROWS` rows, all full but the last.

    Parameters
    ----------
    codes : uint8 (n, width)
    n_bits : int
    distances : function of two sets of packed codes giving int32 (na, nb)
    """
    order = np.arange(len(codes), dtype=np.int64)
    nodes = [(0, len(codes))]
    while nodes:
        start, stop = nodes.pop()
        if stop - start <= BLOCK_ROWS:
            order[start:stop].sort()
            continue
        rows = order[start:stop]
        order[start:stop] = rows[_side(codes[rows], n_bits, distances).argsort(kind="stable")]
        n_blocks = -(-(stop - start) // BLOCK_ROWS)
        middle = start + n_blocks // 2 * BLOCK_ROWS
        nodes += [(start, middle), (middle, stop)]
    return Clustering(order, BLOCK_ROWS, *_centers(codes, order, n_bits, distances, 0))


def extend(clustering: Clustering, codes: np.ndarray, n_bits: int, distances: Distances) -> Clustering:
    """Append the rows of `codes` that the order does not hold yet; the last block is filled up first."""
    n_old = len(clustering.order)
    order = np.concatenate([clustering.order, np.arange(n_old, len(codes), dtype=np.int64)])
    first = n_old // clustering.size  # the first block that gains rows
    centers, radii = _centers(codes, order, n_bits, distances, first)
    return Clustering(
        order,
        clustering.size,
        np.concatenate([clustering.centers[:first], centers]),
        np.concatenate([clustering.radii[:first], radii]),
    )


def widen(clustering: Clustering, codes: np.ndarray, positions: np.ndarray) -> None:
    """Grow the radii, in place, so that they cover codes that changed at `positions`."""
    blocks = positions // clustering.size
    distances = np.bitwise_count(codes ^ clustering.centers[blocks]).sum(axis=1, dtype=np.int32)
    np.maximum.at(clustering.radii, blocks, distances)


def checked(clustering: Clustering, codes: np.ndarray) -> Clustering:
    """Return a clustering that was read from a file; ValueError unless it is one of `codes`."""
    n, n_blocks = len(codes), -(-len(codes) // BLOCK_ROWS)
    order, centers, radii = clustering.order, clustering.centers, clustering.radii
    whole = clustering.size == BLOCK_ROWS and order.dtype == np.int64 and np.array_equal(np.sort(order), np.arange(n))
    if not (whole and centers.dtype == np.uint8 and centers.shape == (n_blocks, codes.shape[1])):
        raise ValueError("order and centers are not those of the codes")
    own = codes[order] ^ np.repeat(centers, BLOCK_ROWS, axis=0)[:n]
    if not (radii.dtype == np.int32 and radii.shape == (n_blocks,)) or np.any(
        np.bitwise_count(own).sum(axis=1) > np.repeat(radii, BLOCK_ROWS)[:n]
    ):
        raise ValueError("radii do not cover their blocks")
    return clustering


def _side(codes: np.ndarray, n_bits: int, distances: Distances) -> np.ndarray:
    """For every row, how much closer it is to the first of two opposite codes than to the second."""
    sample = codes[:: -(-len(codes) // _SAMPLE)]
    pair = np.empty((2, codes.shape[1]), np.uint8)
    pair[0] = sample[distances(sample[:1], sample)[0].argmax()]
    pair[1] = sample[distances(pair[:1], sample)[0].argmax()]
    for _ in range(_REFINEMENTS):
        closer = (distances(pair[:1], sample) - distances(pair[1:], sample))[0].argsort(kind="stable")
        half = len(sample) // 2
        pair[0] = _majority(sample[closer[:half]], n_bits)
        pair[1] = _majority(sample[closer[half:]], n_bits)
    return (distances(pair[:1], codes) - distances(pair[1:], codes))[0]


def _majority(codes: np.ndarray, n_bits: int) -> np.ndarray:
    """The code whose every bit is the one that most rows have."""
    ones = np.unpackbits(codes, axis=1, count=n_bits, bitorder="little").sum(axis=0, dtype=np.int64)
    return np.packbits(2 * ones >= len(codes), bitorder="little")


def _centers(
    codes: np.ndarray, order: np.ndarray, n_bits: int, distances: Distances, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centers and radii of the blocks from number `first` on."""
    starts = range(first * BLOCK_ROWS, len(order), BLOCK_ROWS)
    centers = np.empty((len(starts), codes.shape[1]), np.uint8)
    radii = np.empty(len(starts), np.int32)
    for b, start in enumerate(starts):
        rows = codes[order[start : start + BLOCK_ROWS]]
        centers[b] = _majority(rows, n_bits)
        radii[b] = distances(centers[b : b + 1], rows).max()
    return centers, radii
