"""Exact search by its definition: all distances, all masks, one sort."""

from __future__ import annotations

import numpy as np

from hashneg.backends.reference.distances import distances
from hashneg.backends.request import NO_DISTANCE, NO_INDEX, Database, Exclusions, Search
from hashneg.progress import Meter


def prepare(database: Database) -> None:
    """The oracle searches the codes as they are."""


def write(database: Database, rows: np.ndarray) -> None:
    """Nothing to keep up to date beside the codes."""


def topk(
    database: Database, queries: np.ndarray, k: int, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest allowed rows by (distance, index): int32 and int64 (nq, k), padded."""
    best = np.full((len(queries), k), NO_DISTANCE, np.int32)
    found = np.full((len(queries), k), NO_INDEX, np.int64)
    for i in range(len(queries)):
        distance, rows = _matches(database, queries, i, k, search)
        best[i, : len(rows[:k])] = distance[:k]
        found[i, : len(rows[:k])] = rows[:k]
        meter.advance(1)
    return best, found


def range_search(
    database: Database, queries: np.ndarray, search: Search, threads: int, meter: Meter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All allowed rows within `search.max_distance`: indptr, indices, distances."""
    indptr, found, best = [0], [], []
    for i in range(len(queries)):
        distance, rows = _matches(database, queries, i, len(database.codes), search)
        indptr.append(indptr[-1] + len(rows))
        found.append(rows)
        best.append(distance)
        meter.advance(1)
    empty = [np.empty(0, np.int64)]
    return (
        np.array(indptr, np.int64),
        np.concatenate(found or empty).astype(np.int64),
        np.concatenate(best or empty).astype(np.int32),
    )


def _matches(database: Database, queries: np.ndarray, i: int, k: int, search: Search) -> tuple[np.ndarray, np.ndarray]:
    distance = distances(queries[i : i + 1], database.codes, search.metric)[0]
    allowed = allowed_rows(search.exclusions, i, 0, len(database.codes)) & (distance <= search.max_distance)
    if database.alive is not None:
        allowed &= database.alive
    if database.clustering is not None and search.probe < 1:
        allowed &= _visited(database, queries[i : i + 1], allowed, k, search)
    rows = np.flatnonzero(allowed)
    rows = rows[np.argsort(distance[rows], kind="stable")]  # stable: ties go to the lower index
    return distance[rows], rows


def allowed_rows(exclusions: Exclusions, i: int, start: int, stop: int) -> np.ndarray:
    """Which of the database rows start..stop-1 query i may return, bool (stop - start,)."""
    allowed = np.ones(stop - start, bool)
    if exclusions.allow is not None:
        mask = exclusions.allow[i if len(exclusions.allow) > 1 else 0]
        if exclusions.allow_is_packed:
            mask = np.unpackbits(mask, count=stop, bitorder="little")
        allowed &= mask[start:stop].astype(bool)
    if exclusions.query_labels is not None:
        assert exclusions.database_labels is not None
        allowed &= exclusions.database_labels[start:stop] != exclusions.query_labels[i]
    for ids in (exclusions.query_ids, exclusions.exclude):
        if ids is not None:
            own = np.atleast_1d(ids[i])
            allowed[own[(own >= start) & (own < stop)] - start] = False
    return allowed


def _visited(database: Database, query: np.ndarray, allowed: np.ndarray, k: int, search: Search) -> np.ndarray:
    """The rows of the blocks that a probe visits: a share of them, and on until k allowed rows are held."""
    clustering = database.clustering
    assert clustering is not None
    n_blocks = len(clustering.centers)
    to_centers = distances(query, clustering.centers, search.metric)[0]
    visited = np.zeros(len(allowed), bool)
    for count, block in enumerate(np.argsort(to_centers, kind="stable")):
        if count >= np.ceil(search.probe * n_blocks) and np.count_nonzero(allowed & visited) >= k:
            break
        visited[clustering.order[block * clustering.size : (block + 1) * clustering.size]] = True
    return visited
