"""Packing and exact search in JAX's own operations."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from hashneg import checks
from hashneg.adapters.jax import inputs, kernels
from hashneg.backends import available
from hashneg.backends.request import NO_DISTANCE, NO_INDEX, Exclusions, Search
from hashneg.hamming import TopK
from hashneg.hamming.search import METRICS

_QUERIES = 256  # compared at a time with
_ROWS = 4096  # rows of the database; a multiple of 8, for packed masks


def pack_signs(x: Any) -> jax.Array:
    """Pack signs: bit i is 1 where ``x[..., i] >= 0``, the low bit of a byte first.

    Parameters
    ----------
    x : array, float or signed integer (..., n_bits)
        NaN is packed as 0: values are not checked, so that the function can be traced.

    Returns
    -------
    array, uint8 (..., ceil(n_bits / 8))
        It has no gradient.

    Raises
    ------
    TypeError
        If `x` is of a bool or unsigned dtype, where every value is >= 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hashneg.adapters.jax import pack_signs
    >>> pack_signs(jnp.array([[1.0, -1.0, 0.5]])).tolist()
    [[5]]
    """
    x = jnp.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.signedinteger)):
        raise TypeError(f"x must be of a signed dtype, got {inputs.describe(x)}")
    return jnp.packbits(x >= 0, axis=-1, bitorder="little")


def hamming_topk(
    queries: Any,
    database: Any,
    k: int,
    *,
    n_bits: int | None = None,
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    max_distance: Any = None,
    metric: str = "hamming",
    backend: str = "jax",
) -> TopK:
    """The k nearest database rows of every query, also under ``jit`` and ``vmap``; see `hashneg.hamming_topk`.

    Parameters
    ----------
    queries, database : array, uint8 (nq, width), (n, width)
        Bits beyond `n_bits` are ignored.
    k : int
        Static under ``jit``, as are `n_bits` and `metric`.
    n_bits : int, optional
        8 x width by default.
    query_ids, query_labels, database_labels, exclude, allow, max_distance, metric
        As in `hashneg.hamming_topk`. An id that is no row of the database excludes nothing.
    backend : str
        "jax": JAX's own operations, on any platform. Otherwise one of `hashneg.backends`, whose kernels XLA calls back,
        "auto" for the one that fits where the arrays lie: those of the CPU, or CuPy's on a GPU. `max_distance` has to
        be a plain number then. On a GPU this has not been run yet.

    Returns
    -------
    TopK
        distances int32 (nq, k) and indices (nq, k), int64 or, where JAX has none, int32; sorted by (distance, index)
        and padded with 2**31 - 1 and -1.

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit.
    RuntimeError
        If JAX is too old for the kernels of another backend, or that backend is missing.

    Notes
    -----
    With ``backend="jax"`` rows are compared in tiles of 256 queries and 4096 rows, so that memory does not grow with
    nq x n. Whatever the backend, the arrays are those of `hashneg.hamming_topk`, bit for bit.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from hashneg.adapters.jax import hamming_topk, pack_signs
    >>> codes = pack_signs(jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))
    >>> nearest = jax.jit(lambda codes: hamming_topk(codes, codes, 1, n_bits=2, query_ids=jnp.arange(3)))
    >>> nearest(codes).indices.T.tolist()
    [[1, 0, 1]]
    """
    k = checks.integer(k, "k", minimum=1)
    checks.choice(metric, "metric", METRICS)
    if n_bits is None:
        shape = jnp.shape(queries)
        if len(shape) != 2 or shape[1] == 0:
            raise ValueError(f"queries must have shape (nq, width) with width > 0, got {inputs.describe(queries)}")
        n_bits = 8 * shape[1]
    n_bits = checks.integer(n_bits, "n_bits", minimum=1)
    queries, database = inputs.codes(queries, "queries", n_bits), inputs.codes(database, "database", n_bits)
    nq, n = len(queries), len(database)
    own, labels = inputs.labels(query_labels, database_labels, nq, n)
    listed = [inputs.integers(exclude, "exclude", (nq, None))] if exclude is not None else []
    if query_ids is not None:
        listed.append(inputs.integers(query_ids, "query_ids", (nq,))[:, None])
    hidden = jnp.concatenate([ids.astype(inputs.index_dtype()) for ids in listed], axis=1) if listed else None
    if checks.choice(backend, "backend", ["jax", "auto", *(row.name for row in available())]) != "jax":
        limit = n_bits if max_distance is None else min(checks.integer(max_distance, "max_distance", minimum=0), n_bits)
        arrays = {
            "queries": queries, "database": database, "query_labels": own, "labels": labels, "hidden": hidden,
            "allow": inputs.mask(allow, nq, n),
        }  # fmt: skip
        return kernels.topk(arrays, k, Search(n_bits, limit, Exclusions(), metric), backend)
    limit = n_bits if max_distance is None else jnp.minimum(max_distance, n_bits)
    return _search(queries, database, own, labels, hidden, inputs.mask(allow, nq, n), limit, k, n_bits, metric)


@partial(jax.jit, static_argnames=("k", "n_bits", "metric"))
def _search(
    queries: jax.Array,
    database: jax.Array,
    query_labels: jax.Array | None,
    labels: jax.Array | None,
    hidden: jax.Array | None,
    allow: jax.Array | None,
    limit: Any,
    k: int,
    n_bits: int,
    metric: str,
) -> TopK:
    """Scan the blocks of the database, merging each into the best so far of a tile of queries."""
    n, rows = len(database), min(_ROWS, -(-max(len(database), 1) // 8) * 8)
    # Floats hold these integers exactly, and XLA selects the best of floats many times faster on a CPU.
    number = jnp.float32 if n_bits < 2**24 - 1 else jnp.int32
    far = number(n_bits + 1)  # farther than any row: not allowed, or none
    each = allow is not None and allow.ndim == 2
    shared = (_words(database), labels, None if each else allow)
    starts = jnp.arange(-(-n // rows), dtype=inputs.index_dtype()) * rows
    blocks = (starts, *(_blocks(x, n, rows) for x in shared))

    def nearest(query: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        code, label, unwanted, own_allow = query

        def merge(best: tuple[jax.Array, jax.Array], block: tuple[Any, ...]) -> tuple[Any, None]:
            (start, words, block_labels, block_allow), own_block = block
            differing = code ^ words if metric == "hamming" else code & ~words
            distance = lax.population_count(differing).sum(axis=1, dtype=jnp.int32)
            ids = start + jnp.arange(rows, dtype=start.dtype)
            allowed = (ids < n) & (distance <= limit)
            for mask in (block_allow, own_block):
                if mask is not None:
                    allowed &= mask if mask.dtype == jnp.bool_ else jnp.unpackbits(mask, bitorder="little") > 0
            if block_labels is not None:
                allowed &= block_labels != label
            key = jnp.where(allowed, distance.astype(number), far)
            if unwanted is not None:
                place = unwanted - start
                key = key.at[jnp.where((place >= 0) & (place < rows), place, rows)].set(far, mode="drop")
            keys, found = jnp.concatenate([best[0], key]), jnp.concatenate([best[1], ids])
            nearer, order = lax.top_k(-keys, k)  # equal keys stay in order, which is that of the rows
            return (-nearer, found[order]), None

        none = jnp.full(k, far), jnp.full(k, NO_INDEX, starts.dtype)
        (key, ids), _ = lax.scan(merge, none, (blocks, _blocks(own_allow, n, rows)))
        missing = key > n_bits
        return jnp.where(missing, NO_DISTANCE, key.astype(jnp.int32)), jnp.where(missing, NO_INDEX, ids)

    each_query = (_words(queries), query_labels, hidden, allow if each else None)
    return TopK(*lax.map(nearest, each_query, batch_size=_QUERIES))


def _words(codes: jax.Array) -> jax.Array:
    """The same bits as uint32 (n, words)."""
    padded = jnp.pad(codes, ((0, 0), (0, -codes.shape[1] % 4)))
    return lax.bitcast_convert_type(padded.reshape(len(codes), padded.shape[1] // 4, 4), jnp.uint32)


def _blocks(x: jax.Array | None, n: int, rows: int) -> jax.Array | None:
    """Cut what belongs to the n rows of the database into blocks, padding the last; None stays None."""
    if x is None:
        return None
    size = rows // 8 if x.dtype == jnp.uint8 else rows  # packed masks; codes come as words
    blocks = -(-n // rows)
    padded = jnp.pad(x, ((0, blocks * size - len(x)), *((0, 0),) * (x.ndim - 1)))
    return padded.reshape(blocks, size, *x.shape[1:])
