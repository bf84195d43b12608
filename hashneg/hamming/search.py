"""Distances, top-k and range search of packed codes: check, choose a backend, delegate."""

from __future__ import annotations

from typing import Any

from hashneg import arrays, checks
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import Database, Search
from hashneg.codes import Codes, as_codes
from hashneg.hamming import exclusions
from hashneg.hamming.results import CSR, TopK
from hashneg.progress import Meter, Progress
from hashneg.threads import thread_count

METRICS = ("hamming", "projected")


def hamming_distances(
    a: Any, b: Any, *, metric: str = "hamming", backend: str = "auto", threads: int | None = None
) -> Any:
    """All distances between two sets of codes.

    Parameters
    ----------
    a, b : Codes, or uint8 arrays (na, width), (nb, width)
    metric : "hamming" or "projected"
        popcount(a XOR b), or the asymmetric popcount(a AND NOT b).
    backend : str
        "auto", "cpu" or "reference"; see `hashneg.backends`.
    threads : int, optional
        Threads to use; all cores of this process by default.

    Returns
    -------
    array, int32 (na, nb)
        Of the framework of `a`.

    Raises
    ------
    TypeError, ValueError
        If the arguments are not codes, or differ in n_bits.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> a = hn.Codes.from_signs(np.array([[1, 1, -1]]))
    >>> b = hn.Codes.from_signs(np.array([[1, -1, 1], [1, 1, -1]]))
    >>> hn.hamming_distances(a, b).tolist()
    [[2, 0]]
    """
    a, b = as_codes(a, "a", device=True), as_codes(b, "b", device=True)
    _same_bits(a, b, "a", "b")
    checks.choice(metric, "metric", METRICS)
    run = implementation("distances", choose_backend(backend, arrays.is_on_device(a.data)))
    with arrays.current_stream(a.data):
        return arrays.exporter(a.data)(run(a.host, b.host, metric, thread_count(threads)))


def hamming_topk(
    queries: Any,
    database: Any,
    k: int,
    *,
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    max_distance: int | None = None,
    metric: str = "hamming",
    offset: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress = False,
) -> TopK:
    """The k nearest database rows of every query, exactly.

    Parameters
    ----------
    queries, database : Codes, or uint8 arrays (nq, width), (n, width)
    k : int
        At least 1; may exceed n.
    query_ids : array, int (nq,), optional
        The database row that query i is, which is not returned for it; -1 for none.
    query_labels, database_labels : array, int (nq,), (n,), optional
        Rows of the query's own label are not returned. Both or neither; no value is special.
    exclude : array, int (nq, m), optional
        Database rows not returned for query i, padded with -1.
    allow : array, bool (n,) or (nq, n), or uint8 (..., ceil(n/8)) packed low bit first, optional
        Only rows whose bit is set are returned. Read in place.
    max_distance : int, optional
        Farther rows are not returned; the limit itself is.
    metric : "hamming" or "projected"
        popcount(q XOR x), or the asymmetric popcount(q AND NOT x).
    offset : int
        Added to the returned indices, for a database that is a shard. `query_ids`, `exclude` and `allow`
        speak of the rows of this shard.
    backend : str
        "auto", "cpu" or "reference"; see `hashneg.backends`.
    threads : int, optional
        Threads to use; all cores of this process by default.
    progress : bool or callable
        Show a progress bar, or call ``progress(done, total)``.

    Returns
    -------
    TopK
        distances int32 (nq, k) and indices int64 (nq, k), sorted by (distance, index), of the framework of
        `queries`. Where fewer than k rows are allowed: distance 2**31 - 1 and index -1.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If shapes, n_bits or ids do not fit.
    RuntimeError
        If the backend is not available, or an array lies on a device without one.

    Notes
    -----
    Exclusions are applied inside the search, so that k rows come back wherever k are allowed.
    The result does not depend on backend or threads.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = hn.Codes.from_signs(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1], [1, -1, -1]]))
    >>> found = hn.hamming_topk(codes, codes, 2, query_ids=range(4))
    >>> found.indices.tolist()
    [[1, 3], [0, 3], [3, 1], [1, 2]]
    >>> found.distances.tolist()
    [[1, 2], [1, 1], [1, 2], [1, 1]]
    """
    queries, database = as_codes(queries, "queries", device=True), as_codes(database, "database", device=True)
    _same_bits(queries, database, "queries", "database")
    with arrays.current_stream(queries.data):
        masks = exclusions.build(
            len(queries), len(database), query_ids=query_ids, query_labels=query_labels,
            database_labels=database_labels, exclude=exclude, allow=allow, like=queries.data,
        )  # fmt: skip
    return run_topk(
        Database(database.host, database.n_bits), queries, k, masks, max_distance=max_distance, metric=metric,
        offset=offset, backend=backend, threads=threads, progress=progress,
    )  # fmt: skip


def run_topk(
    database: Database,
    queries: Codes,
    k: int,
    masks: exclusions.Exclusions,
    *,
    max_distance: int | None,
    metric: str,
    offset: int,
    backend: str,
    threads: int | None,
    progress: Progress,
    probe: float = 1.0,
) -> TopK:
    """Search a prepared or bare database; the arguments that every top-k shares are checked here."""
    k = checks.integer(k, "k", minimum=1)
    search = request(database.n_bits, max_distance, "max_distance", metric, masks, probe)
    offset = checks.integer(offset, "offset", minimum=0)
    run = implementation("topk", choose_backend(backend, arrays.is_on_device(queries.data)))
    with arrays.current_stream(queries.data), Meter(progress, len(queries), "searching", "query") as meter:
        distances, indices = run(database, queries.host, k, search, thread_count(threads), meter)
        if offset:
            indices += offset * (indices >= 0)
        export = arrays.exporter(queries.data)
        return TopK(export(distances), export(indices))


def hamming_range(
    queries: Any,
    database: Any,
    radius: int,
    *,
    query_ids: Any = None,
    query_labels: Any = None,
    database_labels: Any = None,
    exclude: Any = None,
    allow: Any = None,
    metric: str = "hamming",
    offset: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress = False,
) -> CSR:
    """All database rows within a radius of every query.

    Parameters
    ----------
    queries, database : Codes, or uint8 arrays (nq, width), (n, width)
    radius : int
        Rows at a distance of at most `radius` are returned.
    query_ids, query_labels, database_labels, exclude, allow, metric, offset, backend, threads, progress
        As in `hamming_topk`.

    Returns
    -------
    CSR
        indptr int64 (nq + 1,), indices int64 and distances int32, sorted by (distance, index) within each
        query, of the framework of `queries`. Memory grows with the number of rows found.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `hamming_topk`.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = hn.Codes.from_signs(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]]))
    >>> found = hn.hamming_range(codes, codes, 1)
    >>> found.indptr.tolist(), found.indices.tolist(), found.distances.tolist()
    ([0, 2, 4, 5], [0, 1, 1, 0, 2], [0, 1, 0, 1, 0])
    """
    queries, database = as_codes(queries, "queries", device=True), as_codes(database, "database", device=True)
    _same_bits(queries, database, "queries", "database")
    with arrays.current_stream(queries.data):
        masks = exclusions.build(
            len(queries), len(database), query_ids=query_ids, query_labels=query_labels,
            database_labels=database_labels, exclude=exclude, allow=allow, like=queries.data,
        )  # fmt: skip
    search = request(database.n_bits, checks.integer(radius, "radius"), "radius", metric, masks)
    offset = checks.integer(offset, "offset", minimum=0)
    run = implementation("range_search", choose_backend(backend, arrays.is_on_device(queries.data)))
    with arrays.current_stream(queries.data), Meter(progress, len(queries), "searching", "query") as meter:
        indptr, indices, distances = run(
            Database(database.host, database.n_bits), queries.host, search, thread_count(threads), meter
        )
        if offset:
            indices += offset
        export = arrays.exporter(queries.data)
        return CSR(export(indptr), export(indices), export(distances))


def request(
    n_bits: int,
    max_distance: int | None,
    name: str,
    metric: str,
    masks: exclusions.Exclusions,
    probe: float = 1.0,
) -> Search:
    """The checked request that a backend gets; `name` is what the caller knows the limit by."""
    checks.choice(metric, "metric", METRICS)
    limit = n_bits if max_distance is None else checks.integer(max_distance, name, minimum=0)
    probe = checks.real(probe, "probe", minimum=0.0, maximum=1.0)
    return Search(n_bits, min(limit, n_bits), masks, metric, probe)


def _same_bits(a: Codes, b: Codes, name_a: str, name_b: str) -> None:
    number_a, number_b = (int(codes.host.__dlpack_device__()[1]) for codes in (a, b))
    if arrays.is_on_device(a.data) != arrays.is_on_device(b.data) or number_a != number_b:
        raise RuntimeError(
            f"{name_a} is a {arrays.describe(a.data)} and {name_b} a {arrays.describe(b.data)}; all arrays of a call "
            "share one device"
        )
    if a.n_bits != b.n_bits:
        raise ValueError(f"{name_a} has n_bits={a.n_bits} but {name_b} has n_bits={b.n_bits}; they must agree")
