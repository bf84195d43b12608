"""Which pairs of a batch are compared: cosines of anchors with positives and negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

from hashneg import namespaces
from hashneg.arrays import describe, framework_of
from hashneg.namespaces import numerics


class Pairs(NamedTuple):
    """The pairs of a batch.

    Attributes
    ----------
    positive : array, float (r,)
        Cosine of each anchor with its positive.
    cosine : array, float (r, c)
        Cosine of each anchor with each column: first the batch, then the `negatives`.
    mask : array, bool (r, c)
        True where the column is a negative of the anchor.
    """

    positive: Any
    cosine: Any
    mask: Any


def similarities(anchors: Any, positives: Any, negatives: Any = None, *, mask: Any = None) -> Pairs:
    """Cosines of all pairs that `info_nce` compares; what the functions of `hashneg.weights` work on.

    Parameters
    ----------
    anchors, positives : array, float (n, d)
    negatives : array, float (m, d) or (n, k, d), optional
        Shared by all anchors, or each anchor's own.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding.

    Returns
    -------
    Pairs
        Of r = n rows and c = n, n + m or n + k columns.

    Raises
    ------
    TypeError, ValueError
        If the arrays are no floats of one framework, or their shapes do not fit.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> x = np.eye(3)
    >>> pairs = hn.losses.similarities(x, x)
    >>> pairs.positive, pairs.mask[0]
    (array([1., 1., 1.]), array([False,  True,  True]))
    """
    a, p, extra, mask = checked(anchors, positives, negatives, mask)
    rows = namespaces.arange(namespaces.length(a, 0), a)
    return _joined(a, p, p, rows[:, None] != rows, extra, mask)


def two_views(anchors: Any, positives: Any, negatives: Any = None, *, mask: Any = None) -> Pairs:
    """As `similarities`, where each of the 2n rows (anchors, then positives) is compared with all the others."""
    a, p, extra, mask = checked(anchors, positives, negatives, mask)
    xp = namespaces.of(a)
    items = namespaces.arange(namespaces.length(a, 0), a)
    items = xp.concat([items, items], axis=0)
    if extra is not None and len(extra.shape) == 3:
        extra, mask = xp.concat([extra, extra], axis=0), mask if mask is None else xp.concat([mask, mask], axis=0)
    first, second = xp.concat([a, p], axis=0), xp.concat([p, a], axis=0)
    return _joined(first, second, first, items[:, None] != items, extra, mask)


def _joined(a: Any, partner: Any, batch: Any, in_batch: Any, extra: Any, mask: Any) -> Pairs:
    xp = namespaces.of(a)
    positive = xp.sum(a * partner, axis=-1)
    cosine = namespaces.matmul(a, xp.matrix_transpose(batch))
    if extra is None:
        return Pairs(positive, cosine, in_batch)
    if len(extra.shape) == 2:
        more = namespaces.matmul(a, xp.matrix_transpose(extra))
    else:
        more = namespaces.matmul(extra, a[..., None])[..., 0]
    allowed = xp.ones_like(more) > 0
    if mask is not None:
        allowed = allowed & mask
    return Pairs(positive, xp.concat([cosine, more], axis=-1), xp.concat([in_batch, allowed], axis=-1))


def checked(anchors: Any, positives: Any, negatives: Any, mask: Any) -> tuple[Any, Any, Any, Any]:
    """Unit rows of all three (None without negatives) and the mask."""
    named = [("positives", positives), *([] if negatives is None else [("negatives", negatives)])]
    _, a, p, *rest = namespaces.floats("anchors", anchors, *named)
    extra = rest[0] if rest else None
    if len(a.shape) != 2 or not same_shape(a.shape, p.shape):
        raise ValueError(
            f"anchors and positives must have one shape (n, d), got {describe(anchors)} and {describe(positives)}"
        )
    n, d = a.shape
    if extra is not None:
        fits = len(extra.shape) == 2 or (len(extra.shape) == 3 and same_shape(extra.shape[:1], (n,)))
        if not fits or not same_shape(extra.shape[-1:], (d,)):
            raise ValueError(f"negatives must have shape (m, {d}) or ({n}, k, {d}), got {describe(negatives)}")
    if mask is not None:
        if extra is None:
            raise ValueError("mask says which negatives are real, so it needs negatives")
        if framework_of(mask) != framework_of(anchors) or namespaces.dtype_name(mask) != "bool":
            raise TypeError(f"mask must hold bools in the framework of anchors, got {describe(mask)}")
        if not same_shape(mask.shape, extra.shape[:-1]):
            raise ValueError(f"mask must have shape {tuple(extra.shape[:-1])}, got {describe(mask)}")
    unit = numerics.unit_rows
    return unit(a), unit(p), None if extra is None else unit(extra), mask


def same_shape(a: Any, b: Any) -> bool:
    """Whether two shapes agree; an axis that a traced function leaves open fits any."""
    return len(a) == len(b) and all(x == y or x is None or y is None for x, y in zip(a, b, strict=True))
