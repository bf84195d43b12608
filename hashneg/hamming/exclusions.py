"""Exclusions: (query, database) pairs that may never be returned, checked and made plain."""

from __future__ import annotations

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
    also: tuple[checks.ValueCheck | None, ...] = (),
) -> Exclusions:
    """Check the exclusion arguments of a search of `n_queries` in `n_rows`.

    `like` are the queries: where they lie on a CUDA device, all arrays have to, and stay there. `also` are
    checks of other values of the call, settled with those of the ids.

    Raises
    ------
    TypeError
        If an id or label array does not hold integers, or `allow` is neither bool nor uint8.
    ValueError
        If a shape does not fit, an id is out of range, or labels are given for one side only.
    """
    check_sides(query_labels, database_labels)
    for name, values in {
        "query_ids": query_ids, "query_labels": query_labels, "database_labels": database_labels, "exclude": exclude,
        "allow": allow,
    }.items():  # fmt: skip
        _check_device(values, name, like)
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
    checks.settle(*also, *(ids_check(values, name, n_rows) for name, values in ids.items()))
    return Exclusions(query_ids, query_labels, database_labels, exclude, allow, packed)


def _check_device(values: Any, name: str, like: Any) -> None:
    """RuntimeError where an array lies on another CUDA device than `like`."""
    if arrays.is_on_device(values) and arrays.is_on_device(like):
        own, other = (x.__dlpack_device__()[1] if hasattr(x, "__dlpack_device__") else 0 for x in (values, like))
        if own != other:
            raise RuntimeError(
                f"{name} is a {arrays.describe(values)}, but the queries lie on CUDA device {int(other)}; all arrays "
                "of a call share one device"
            )


def check_sides(query_labels: Any, database_labels: Any) -> None:
    """ValueError unless both sides have labels, or neither."""
    if (query_labels is None) != (database_labels is None):
        missing = "query_labels" if query_labels is None else "database_labels"
        raise ValueError(f"labels exclude only when both sides have them: {missing} is missing")


def check_ids(ids: Any, name: str, n_rows: int, *, none: bool = True) -> None:
    """ValueError unless every id is one of the rows or, with `none`, -1."""
    checks.settle(ids_check(ids, name, n_rows, none=none))


def ids_check(ids: Any, name: str, n_rows: int, *, none: bool = True) -> checks.ValueCheck | None:
    """`check_ids`, to be settled with other checks of the call."""
    if not (checks.values_are_checked() and ids.size):
        return None
    wrong = (ids < (NO_INDEX if none else 0)) | (ids >= n_rows)

    def explain() -> None:
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            where = place[0] if len(place) == 1 else place
            rule = f"ids must be rows 0 to {n_rows - 1}" + (", or -1 for none" if none else "")
            raise ValueError(f"{name}[{where}] is {int(ids[place])}; {rule}")

    return checks.ValueCheck(wrong.any(), explain)


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
