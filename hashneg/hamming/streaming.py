"""Top-k on a device of a database that stays on the host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hashneg import arrays, checks
from hashneg.backends import TABLE, choose_backend, implementation
from hashneg.backends.request import HostRows
from hashneg.codes import Codes, as_codes
from hashneg.hamming import exclusions
from hashneg.hamming.results import TopK
from hashneg.hamming.search import request
from hashneg.progress import Meter, Progress


def stream_topk(
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
    chunk_rows: int | None = None,
    progress: Progress = False,
) -> TopK:
    """The k nearest rows, exactly, of a database that is larger than the memory of the device.

    The database stays on the host and is copied to the device chunk by chunk, each while the one before is
    searched. The result is that of `hamming_topk`.

    Parameters
    ----------
    queries : Codes, or uint8 array (nq, width), on a CUDA device
    database : Codes, or uint8 array (n, width), on the host; or a list of them, stacked by rows
        Memory maps are read as they are needed.
    k : int
        At least 1; may exceed n.
    query_ids, query_labels, exclude : array, int (nq,), (nq,), (nq, m), optional
        As in `hamming_topk`, on the device of the queries.
    database_labels : array, int (n,), optional
        On the host, beside the database.
    allow : array, bool (n,), or uint8 (ceil(n/8),) packed low bit first, optional
        On the host, beside the database; one for all queries.
    max_distance, metric, offset, progress
        As in `hamming_topk`.
    chunk_rows : int, optional
        Rows on their way to the device at a time. By default as many as fit what is free there, up to 256 MiB.
        The host needs pinned memory for two chunks.

    Returns
    -------
    TopK
        distances int32 (nq, k) and indices int64 (nq, k), of the framework and device of `queries`.

    Raises
    ------
    TypeError, ValueError
        As `hamming_topk`.
    RuntimeError
        If the queries are not on a CUDA device, the database is not on the host, or the backend cupy is missing.
    MemoryError
        If a chunk does not fit the device; says how many bytes it needs and how many rows would fit.

    Notes
    -----
    The device holds two chunks, the layout of one, and ``8 (k + max(k, 1024))`` bytes for each query. The host copies
    a chunk to pinned memory while the device searches.

    Examples
    --------
    ::

        queries = torch.from_numpy(codes[:1000]).cuda()
        rows = np.memmap("codes.bin", np.uint8, "r", shape=(10**10, 32))
        found = hn.stream_topk(queries, rows, 100, query_ids=torch.arange(1000).cuda())

    On the host the search is `hamming_topk`'s:

    >>> import numpy as np, hashneg as hn
    >>> rows = np.zeros((4, 2), dtype=np.uint8)
    >>> hn.stream_topk(rows, rows, 1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    RuntimeError: queries is a numpy array ...; stream_topk searches on a CUDA device, and hamming_topk on the host
    """
    queries = as_codes(queries, "queries", device=True)
    if not arrays.is_on_device(queries.data):
        raise RuntimeError(
            f"queries is a {arrays.describe(queries.data)}; stream_topk searches on a CUDA device, and hamming_topk on "
            "the host"
        )
    k = checks.integer(k, "k", minimum=1)
    parts = _on_host(database, queries.n_bits)
    n = sum(map(len, parts))
    exclusions.check_sides(query_labels, database_labels)
    with arrays.current_stream(queries.data):
        masks = exclusions.build(len(queries), n, query_ids=query_ids, exclude=exclude, like=queries.data)
    if query_labels is not None:
        own = arrays.integers(query_labels, "query_labels", (len(queries),), queries.data)
        masks = replace(masks, query_labels=own)
        database_labels = arrays.integers(database_labels, "database_labels", (n,))
    packed = False
    if allow is not None:
        allow, packed = exclusions.mask(allow, 1, n)
    rows = HostRows([part.host for part in parts], database_labels, None if allow is None else allow[0], packed)
    search = request(queries.n_bits, max_distance, "max_distance", metric, masks)
    offset = checks.integer(offset, "offset", minimum=0)
    chunk_rows = None if chunk_rows is None else checks.integer(chunk_rows, "chunk_rows", minimum=1)
    backend = choose_backend(on_device=True)
    if ("stream_topk", backend) not in TABLE:
        raise RuntimeError(f"stream_topk needs the backend 'cupy', and {backend!r} was chosen; see hashneg.backends()")
    run = implementation("stream_topk", backend)
    with arrays.current_stream(queries.data), Meter(progress, n, "searching") as meter:
        distances, indices = run(rows, queries.host, k, search, chunk_rows, meter)
        if offset:
            indices += offset * (indices >= 0)
        export = arrays.exporter(queries.data)
        return TopK(export(distances), export(indices))


def _on_host(database: Any, n_bits: int) -> list[Codes]:
    """The parts of a database, checked."""
    listed = isinstance(database, (list, tuple)) and len(database) > 0
    parts = []
    for number, part in enumerate(database if listed else [database]):
        name = f"database[{number}]" if listed else "database"
        codes = as_codes(part, name, device=True)
        if arrays.is_on_device(codes.data):
            raise RuntimeError(
                f"{name} is a {arrays.describe(codes.data)}; stream_topk takes it from the host, and hamming_topk "
                "from the device"
            )
        if codes.n_bits != n_bits:
            raise ValueError(f"{name} has n_bits={codes.n_bits} but queries has n_bits={n_bits}; they must agree")
        parts.append(codes)
    return parts
