"""Joining the results of shards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.hamming.results import TopK


def merge_topk(parts: Iterable[TopK], k: int) -> TopK:
    """Merge the top-k of several shards into the top-k of the whole.

    Associative and commutative: shards may be merged in any order and grouping.

    Parameters
    ----------
    parts : iterable of TopK
        Results for the same queries with global indices (see `offset` of `hamming_topk`), each with at least
        k columns or all the rows of its shard. Equal (distance, index) pairs collapse into one.
    k : int
        At least 1.

    Returns
    -------
    TopK
        distances int32 and indices int64 (nq, k), padded, of the framework of the first part.

    Raises
    ------
    TypeError, ValueError
        If a part is not a pair of integer arrays of one shape, or the numbers of queries differ.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> a = hn.TopK(np.array([[1, 4]], dtype=np.int32), np.array([[7, 2]]))
    >>> b = hn.TopK(np.array([[1, 2]], dtype=np.int32), np.array([[3, 9]]))
    >>> hn.merge_topk([a, b], 3).indices.tolist()
    [[3, 7, 9]]
    """
    k = checks.integer(k, "k", minimum=1)
    parts = list(parts)
    if not parts:
        raise ValueError("parts must hold at least one TopK")
    pairs = [_checked(part, number) for number, part in enumerate(parts)]
    n_queries = pairs[0][0].shape[0]
    for number, (part_distances, _) in enumerate(pairs):
        if len(part_distances) != n_queries:
            raise ValueError(f"parts[{number}] has {len(part_distances)} queries, parts[0] has {n_queries}")
    distances = np.concatenate([pair[0] for pair in pairs], axis=1)
    indices = np.concatenate([pair[1] for pair in pairs], axis=1)
    distances, indices = _sorted(distances, indices)
    twice = np.zeros(distances.shape, bool)
    twice[:, 1:] = (distances[:, 1:] == distances[:, :-1]) & (indices[:, 1:] == indices[:, :-1])
    if twice.any():
        distances[twice], indices[twice] = NO_DISTANCE, NO_INDEX
        distances, indices = _sorted(distances, indices)
    missing = max(k - distances.shape[1], 0)
    distances = np.pad(distances[:, :k], ((0, 0), (0, missing)), constant_values=NO_DISTANCE)
    indices = np.pad(indices[:, :k], ((0, 0), (0, missing)), constant_values=NO_INDEX)
    export = arrays.exporter(parts[0][0])
    return TopK(export(distances.astype(np.int32)), export(indices))


def _checked(part: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    name = f"parts[{number}]"
    if not (isinstance(part, tuple) and len(part) == 2):
        raise TypeError(f"{name} must be a TopK, got {arrays.describe(part)}")
    distances = arrays.integers(part[0], f"{name}.distances", (None, None))
    indices = arrays.integers(part[1], f"{name}.indices", distances.shape)
    return distances, indices


def _sorted(distances: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)
