"""An order of the database in which a block of rows holds similar codes.

Recursive bisection splits the rows by which of two opposite codes they are closer to, into nodes of one to two
blocks. Of a node only the block of rows closest to its center stays together; the others go back into a pool that is
bisected anew. So a few rows far from everything do not widen the radii of all blocks, and a block is passed over
about twice as often as without the pool. All arithmetic is on integers, so the order is the same on every machine
and backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hashneg.backends.request import BLOCK_ROWS, Clustering

_SAMPLE = 256  # rows that decide how a node is split
_REFINEMENTS = 3
_SUMMED_ROWS = 255  # of bytes 0 and 1, whose sums fit a byte

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cluster(codes: np.ndarray, n_bits: int, distances: Distances) -> Clustering:
    """Order `codes` into blocks of `BLOCK_ROWS` similar rows, all full but the last.

    Parameters
    ----------
    codes : uint8 (n, width)
    n_bits : int
    distances : function of two sets of packed codes giving int32 (na, nb)
    """
    blocks: list[np.ndarray] = []
    pool = np.arange(len(codes), dtype=np.int64)
    while len(pool) >= 2 * BLOCK_ROWS:
        left = []
        for rows in _bisected(pool, codes, n_bits, distances):
            center = _majority(codes[rows], n_bits)[np.newaxis]
            nearest = rows[_sorted(distances(center, codes[rows])[0], n_bits)]
            blocks.append(nearest[:BLOCK_ROWS])
            left.append(nearest[BLOCK_ROWS:])
        pool = np.sort(np.concatenate(left))
    if len(pool) > BLOCK_ROWS:
        pool = pool[_sorted(_side(codes[pool], n_bits, distances), n_bits)]
    blocks += [pool[:BLOCK_ROWS], pool[BLOCK_ROWS:]]
    order = np.concatenate([np.sort(rows) for rows in blocks])
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
    covered = radii.dtype == np.int32 and radii.shape == (n_blocks,)
    for b in range(n_blocks) if covered else ():  # block by block: the codes may fill the memory
        own = codes[order[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS]] ^ centers[b]
        covered &= bool(np.bitwise_count(own).sum(axis=1, dtype=np.int64).max() <= radii[b])
    if not covered:
        raise ValueError("radii do not cover their blocks")
    return clustering


def _bisected(rows: np.ndarray, codes: np.ndarray, n_bits: int, distances: Distances) -> Iterator[np.ndarray]:
    """Cut rows into nodes of at least one block and less than two."""
    nodes = [rows]
    while nodes:
        rows = nodes.pop()
        if len(rows) < 2 * BLOCK_ROWS:
            yield rows
            continue
        rows = rows[_sorted(_side(codes[rows], n_bits, distances), n_bits)]
        nodes += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]


def _side(codes: np.ndarray, n_bits: int, distances: Distances) -> np.ndarray:
    """For every row, how much closer it is to the first of two opposite codes than to the second."""
    sample = codes[:: -(-len(codes) // _SAMPLE)]
    half = len(sample) // 2
    pair = np.empty((2, codes.shape[1]), np.uint8)
    pair[0] = sample[distances(sample[:1], sample)[0].argmax()]
    pair[1] = sample[distances(pair[:1], sample)[0].argmax()]
    for _ in range(_REFINEMENTS):
        closer = sample[_sorted(np.subtract(*distances(pair, sample)), n_bits)]
        pair[0], pair[1] = _majority(closer[:half], n_bits), _majority(closer[half:], n_bits)
    return np.subtract(*distances(pair, codes))


def _sorted(values: np.ndarray, n_bits: int) -> np.ndarray:
    """The stable order of differences of distances; NumPy sorts 16-bit numbers many times faster."""
    return values.astype(np.int16 if n_bits < 2**15 else np.int32).argsort(kind="stable")


def _majority(codes: np.ndarray, n_bits: int) -> np.ndarray:
    """The code whose every bit is the one that most rows have."""
    ones = np.zeros(8 * codes.shape[1], np.int64)
    for start in range(0, len(codes), _SUMMED_ROWS):
        bits = np.unpackbits(codes[start : start + _SUMMED_ROWS], axis=1, bitorder="little")
        ones += bits.view(np.uint64).sum(axis=0, dtype=np.uint64).view(np.uint8)  # eight sums in a word
    return np.packbits(2 * ones[:n_bits] >= len(codes), bitorder="little")


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
