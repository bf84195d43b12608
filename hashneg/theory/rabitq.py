"""RaBitQ: the cosine of a float query and a row of which a code and two numbers are kept."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hashneg import arrays, checks
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import NO_INDEX
from hashneg.codes import as_codes
from hashneg.quantize import BinaryQuantizer
from hashneg.quantize.quantizer import block_rows
from hashneg.theory import values
from hashneg.threads import thread_count


class RabitqRows(NamedTuple):
    """What `rabitq_scores` needs of the database beside its codes: two numbers for each row.

    Attributes
    ----------
    norms : float32 (n,)
        ``|x - mean|`` of the row scaled to length 1; NaN for a row of zeros.
    factors : float32 (n,)
        ``|x - mean|^2 / sum_i |z_i|``, z = R (x - mean).
    mean : float64 (d,)
        The center the codes were taken around.
    """

    norms: Any
    factors: Any
    mean: Any


def rabitq_rows(quantizer: BinaryQuantizer, x: Any, mean: Any = None) -> RabitqRows:
    """Compute the two numbers of each row, while its embedding is still at hand.

    Parameters
    ----------
    quantizer : BinaryQuantizer
        Fitted, with a rotation drawn at random ("orthogonal", "gaussian" or "hadamard") and ``center="mean"`` or None.
    x : array, float (n, d)
        The database; rows are scaled to length 1, as `mine_hard_negatives` does before it encodes.
    mean : array, float (d,), optional
        The mean of the rows the quantizer was fitted on. Only a quantizer that was loaded from a file of an earlier
        version, or from the state of a `CodeTable`, does not know it.

    Returns
    -------
    RabitqRows
        NumPy; 8 bytes a row.

    Raises
    ------
    TypeError, ValueError
        If the quantizer is not fitted, is of another kind, or `mean` is missing or not the one it was fitted with.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> from hashneg import theory
    >>> x = np.random.default_rng(0).standard_normal((500, 64), dtype=np.float32)
    >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
    >>> rows = theory.rabitq_rows(hn.BinaryQuantizer(64).fit(x), x)
    >>> rows.norms.shape, rows.factors.dtype
    ((500,), dtype('float32'))
    """
    rows = arrays.embeddings(x, "x").normalize()
    center = center_of(quantizer, mean)
    norms, factors = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    for start, block in rows.blocks(block_rows(rows.shape[1])):
        stop = start + len(block)
        length = np.linalg.norm(block - center, axis=1)
        total = np.abs(quantizer.project(block)).sum(axis=1, dtype=np.float64)
        factors[start:stop] = np.divide(length**2, total, out=np.zeros(len(block)), where=total > 0)
        norms[start:stop] = np.where(np.all(block == 0, axis=1), np.nan, length)
    return RabitqRows(norms, factors, center)


def rabitq_scores(
    quantizer: BinaryQuantizer,
    rows: RabitqRows,
    codes: Any,
    queries: Any,
    candidates: Any,
    *,
    epsilon: float = 1.9,
    backend: str = "auto",
    threads: int | None = None,
) -> tuple[Any, Any]:
    """Estimate the cosine of each query with its candidates, with a bound on the error.

    With v = sum_i sign(z_i) R_i, the estimate of <x - mean, q - mean> is factor * <v, q - mean>. The part of v along
    x - mean gives the exact product, the rest points in a random direction, so the estimate is unbiased for every
    n_bits, below d as well.

    Parameters
    ----------
    quantizer, rows
        As given to and returned by `rabitq_rows`.
    codes : Codes or uint8 array (n, width)
        Of the database.
    queries : array, float (nq, d)
        Scaled to length 1.
    candidates : array, int (nq, p)
        Database rows, padded with -1; from `hamming_topk`, for example.
    epsilon : float
        How wide the bounds are. The error exceeds its bound with probability 2 Phi(-epsilon / sin(angle)), at most
        5.7 % for the 1.9 of the paper; `angle` is that of the centered vectors.
    backend, threads
        As in `hamming_topk`; the arrays lie on the host.

    Returns
    -------
    scores, bounds : array, float32 (nq, p)
        The cosine lies within score - bound and score + bound, up to the probability above. NaN where the candidate is
        -1; 0 for rows or queries of zeros. Of the framework of `queries`.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit each other.

    References
    ----------
    Gao & Long, *RaBitQ*, SIGMOD 2024, theorem 3.2 (for n_bits = d and a rotation that maps R^d onto itself); the page
    on theory derives the other cases.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> from hashneg import theory
    >>> x = np.random.default_rng(0).standard_normal((500, 64), dtype=np.float32)
    >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
    >>> quantizer = hn.BinaryQuantizer(64)
    >>> codes = quantizer.fit_encode(x)
    >>> rows = theory.rabitq_rows(quantizer, x)
    >>> scores, bounds = theory.rabitq_scores(quantizer, rows, codes, x[:2], np.array([[0, 7], [1, -1]]))
    >>> bool(abs(scores[0, 1] - x[0] @ x[7]) < bounds[0, 1]), scores[1].round(2).tolist()
    (True, [1.0, nan])
    """
    codes = as_codes(codes, "codes")
    dim = check_quantizer(quantizer)
    if codes.n_bits != quantizer.n_bits or not len(codes) == len(rows.norms) == len(rows.factors):
        raise ValueError(
            f"codes ({len(codes)} x {codes.n_bits} bits), rows ({len(rows.norms)}) and the quantizer "
            f"({quantizer.n_bits} bits) must belong together"
        )
    points = arrays.embeddings(queries, "queries").normalize()
    if points.shape[1] != dim:
        raise ValueError(f"queries have {points.shape[1]} dimensions, but the quantizer was fitted on {dim}")
    ids = arrays.integers(candidates, "candidates", (len(points), None))
    if ids.size and not (ids.min() >= NO_INDEX and ids.max() < len(codes)):
        raise ValueError(f"candidates must lie between -1 and {len(codes) - 1}")
    epsilon = checks.real(epsilon, "epsilon", minimum=0.0)
    sizes, width = values.blocks(quantizer.n_bits, dim, quantizer.rotation)
    share = sum(size**2 for size in sizes) / quantizer.n_bits**2
    run, count = implementation("rabitq_scores", choose_backend(backend)), thread_count(threads)
    norms, factors = (np.ascontiguousarray(numbers, np.float32) for numbers in (rows.norms, rows.factors))
    scores, bounds = np.empty(ids.shape, np.float32), np.empty(ids.shape, np.float32)
    for start, block in points.blocks(block_rows(dim)):
        part = slice(start, start + len(block))
        z = quantizer.project(block).astype(np.float32, copy=False)
        shifts = (1 - rows.mean @ rows.mean) / 2 + (block * rows.mean).sum(axis=1)
        shifts[np.all(block == 0, axis=1)] = np.nan  # marks a query of zeros
        # of the error at a right angle: |v_across| / v_along / sqrt(d - 1) |q - mean| times the row's own |x - mean|
        reaches = epsilon * np.linalg.norm(block - rows.mean, axis=1) / math.sqrt(max(width - 1, 1))
        scores[part], bounds[part] = run(z, shifts, reaches, codes.host, norms, factors, ids[part], share, count)
    export = arrays.exporter(queries)
    return export(scores), export(bounds)


def rabitq_variance(angle: Any, n_bits: int, dim: int, rotation: str = "orthogonal") -> Any:
    """The variance of RaBitQ's estimate of the cosine of two centered vectors, for many bits.

    sin(angle)^2 (pi / (2 n_bits) - sum of m^2 / (n_bits^2 d)), over blocks of m orthonormal rows. For n_bits = d this
    is (pi / 2 - 1) sin(angle)^2 / d. For n_bits < d it is that of a code of all dimensions of the projected vectors,
    (pi / 2 - 1) / n_bits, and 1 / n_bits - 1 / d that the projection adds. For independent rows it is pi / (2 n_bits).
    It is about 2 / n_bits too low, relatively: at 64 bits 3 %.

    Parameters
    ----------
    angle, n_bits, dim, rotation
        As in `hamming_variance`.

    Returns
    -------
    float or array
        Of the kind of `angle`.

    Raises
    ------
    TypeError, ValueError
        As `hamming_variance`.

    Examples
    --------
    >>> import math
    >>> from hashneg import theory
    >>> [round(1024 * theory.rabitq_variance(math.pi / 2, b, 1024), 3) for b in (1024, 512)]
    [0.572, 2.144]
    """
    sizes, width = values.blocks(n_bits, dim, rotation)
    xp, (theta,), export = values.take(angle=angle)
    values.check_angle(theta)
    return export(xp.sin(theta) ** 2 * (math.pi / (2 * n_bits) - _saved_by_rows(sizes, width)))


def _saved_by_rows(sizes: list[int], width: int) -> float:
    """What orthonormal rows save, sum of m^2 / (n_bits^2 width); nothing where rows are independent."""
    return sum(size * (size - 1) for size in sizes) / (sum(sizes) ** 2 * width)


def check_quantizer(quantizer: Any) -> int:
    """The dimensions of a quantizer that the estimate holds for."""
    if not isinstance(quantizer, BinaryQuantizer):
        raise TypeError(f"quantizer must be a BinaryQuantizer, got {arrays.describe(quantizer)}")
    checks.choice(quantizer.rotation, "the quantizer's rotation", values.ROTATIONS)
    if quantizer.center == "median":
        raise ValueError("the quantizer's center='median' is around no one point; RaBitQ needs center='mean' or None")
    _ = quantizer.thresholds  # raises unless fitted
    assert quantizer.dim is not None
    return quantizer.dim


def center_of(quantizer: BinaryQuantizer, mean: Any) -> np.ndarray:
    """The center of the quantizer, float64 (d,)."""
    dim = check_quantizer(quantizer)
    if quantizer.center is None:
        return np.zeros(dim)
    if mean is None:
        if quantizer._total is None:
            raise ValueError("the quantizer was loaded without the mean it was fitted with; pass mean=")
        mean = quantizer._total / quantizer.n_seen
    center = np.asarray(arrays.to_numpy(mean, "mean"), np.float64)
    if center.shape != (dim,):
        raise ValueError(f"mean must have shape ({dim},), got {arrays.describe(mean)}")
    off = np.abs(quantizer.project(center[None])).max()
    if off > 1e-3 * (1e-3 + np.linalg.norm(center)):
        raise ValueError(f"mean is not the one that the quantizer was fitted with; projected, it is {off:.3g} off")
    return center
