"""Exclusions: (query, database) pairs that may never be returned, checked and made plain."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.backends.request import NO_INDEX, Exclusions
from hashneg.cuda_arrays import contiguous


def build(
    n_queries: int,
    n_rows: int,
    *,
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    like: Any = None,
) -> Exclusions:
    """Check the exclusion arguments of a search of `n_queries` in `n_rows`.

    `like` are the queries: where they lie on a CUDA device, all arrays have to, and stay there.

    Raises
    ------
    TypeError
        If an id or label array does not hold integers, or `allow` is neither bool nor uint8.
    ValueError
        If a shape does not fit, an id is out of range, or labels are given for one side only.
    """
    check_sides(query_labels, database_labels)
    ids = {}
    if query_ids is not None:
        query_ids = ids["query_ids"] = contiguous(arrays.integers(query_ids, "query_ids", (n_queries,), like))
    if query_labels is not None:
        query_labels = contiguous(arrays.integers(query_labels, "query_labels", (n_queries,), like))
        database_labels = contiguous(arrays.integers(database_labels, "database_labels", (n_rows,), like))
    if exclude is not None:
        ids["exclude"] = arrays.integers(exclude, "exclude", (n_queries, None), like)
        exclude = contiguous(np.sort(ids["exclude"], axis=1))
    packed = False
    if allow is not None:
        allow, packed = mask(allow, n_queries, n_rows, like)
    _check_all_ids(ids, n_rows)
    return Exclusions(query_ids, query_labels, database_labels, exclude, allow, packed)


def check_sides(query_labels: Any, database_labels: Any) -> None:
    """ValueError unless both sides have labels, or neither."""
    if (query_labels is None) != (database_labels is None):
        missing = "query_labels" if query_labels is None else "database_labels"
        raise ValueError(f"labels exclude only when both sides have them: {missing} is missing")


def _check_all_ids(ids: dict[str, Any], n_rows: int) -> None:
    """`check_ids` of several arrays: on a device the host reads one flag for all of them."""
    flags = [_wrong(values, n_rows).any() for values in ids.values() if checks.values_are_checked() and values.size]
    if flags and functools.reduce(operator.or_, flags):
        for name, values in ids.items():
            check_ids(values, name, n_rows)


def check_ids(ids: np.ndarray, name: str, n_rows: int, *, none: bool = True) -> None:
    """ValueError unless every id is one of the rows or, with `none`, -1."""
    if not (checks.values_are_checked() and ids.size):
        return
    wrong = _wrong(ids, n_rows, none)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = place[0] if len(place) == 1 else place
        rule = f"ids must be rows 0 to {n_rows - 1}" + (", or -1 for none" if none else "")
        raise ValueError(f"{name}[{where}] is {int(ids[place])}; {rule}")


def _wrong(ids: Any, n_rows: int, none: bool = True) -> Any:
    return (ids < (NO_INDEX if none else 0)) | (ids >= n_rows)


def mask(allow: Any, n_queries: int, n_rows: int, like: Any = None) -> tuple[Any, bool]:
    """A uint8 view (1 or nq, n) or (1 or nq, ceil(n/8)) of the mask, and whether it is packed."""
    values = arrays.beside(allow, "allow", like)
    if values.dtype not in (np.bool_, np.uint8):
        raise TypeError(f"allow must be bool, or uint8 packed low bit first, got {arrays.describe(allow)}")
    packed = values.dtype == np.uint8
    width = -(-n_rows // 8) if packed else n_rows
    if values.shape not in ((width,), (n_queries, width)):
        kind = "packed uint8" if packed else "bool"
        raise ValueError(
            f"allow as {kind} must have shape ({width},) or ({n_queries}, {width}) for {n_rows} rows, "
            f"got {arrays.describe(allow)}"
        )
    if values.ndim == 1:
        values = values[None]
    if values.shape[1] > 1 and values.strides[1] != 1:  # kernels read rows byte by byte
        values = contiguous(values)
    return values.view(np.uint8), packed
