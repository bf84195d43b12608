"""Candidates in the order of their scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg.backends.request import NO_INDEX

_ID_BITS = 32
_ID_LIMIT = 2**_ID_BITS
LAST = np.int64(np.iinfo(np.int64).max)  # behind every key of a real candidate


def best_first(scores: np.ndarray, ids: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` of each row sorted by (-score, index); NaN last, where `ids` is -1."""
    if ids.size and ids.max() >= _ID_LIMIT:
        order = np.lexsort((ids, -scores), axis=1)[:, :count]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
    keys = keys_of(scores, ids)
    keys[ids == NO_INDEX] = LAST
    if count < keys.shape[1]:
        keys.partition(count - 1, axis=1)
        keys = keys[:, :count].copy()
    keys.sort(axis=1)
    missing = keys == LAST
    scores, ids = of_keys(keys)
    scores[missing], ids[missing] = np.nan, NO_INDEX
    return scores, ids


def keys_of(scores: Any, ids: Any) -> Any:
    """One int64 for both, the score mapped to an integer that falls as it rises: sorted many times faster.

    For ids below 2**32. This and `of_keys` are for arrays of the host and of a device.
    """
    return ~_ordered(scores + np.float32(0)).astype(np.int64) << _ID_BITS | ids  # -0 becomes 0


def of_keys(keys: Any) -> tuple[Any, Any]:
    """The scores and ids of keys other than `LAST`."""
    scores = _ordered((~keys >> _ID_BITS).astype(np.int32).view(np.float32)).view(np.float32)
    return scores, keys & np.int64(_ID_LIMIT - 1)


def _ordered(scores: Any) -> Any:
    """float32 numbers as int32 that rise and fall with them; the map is its own inverse."""
    bits = scores.view(np.int32)
    return bits ^ (bits >> 31 & np.int32(0x7FFFFFFF))
