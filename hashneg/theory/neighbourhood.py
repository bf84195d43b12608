"""What a plan needs to know of the embeddings: the angles around some queries, near and far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashneg.arrays import Embeddings, unit_rows
from hashneg.hamming import exact_topk
from hashneg.progress import Progress
from hashneg.quantize.quantizer import block_rows
from hashneg.randomness import mix64
from hashneg.theory.overlap import Law, find_cut, kept

_FAR_ROWS = 20_000  # a sample stands for the rows that are not near
_SINGLE = 64  # the nearest rows are groups of their own
_GROWTH = 1.06  # the groups behind them grow by this factor
_HILL = 16  # nearest rows that tell how the number of rows grows with the angle
_COMPETITORS = 32


@dataclass(frozen=True)
class Neighbourhood:
    """The rows around each query, sorted by angle, in groups.

    Attributes
    ----------
    rows : Embeddings, the database
    mean : float64 (d,), of the unit rows; zeros without centering
    queries : float64 (nq, d), of length 1 after centering
    truth : float64 (nq, t), angles of the nearest rows by cosine, nearest first
    truth_weight : float, the number of rows that each of them stands for
    angles, weights : float64 (nq, g), mean angle and number of rows of each group
    ids : int64 (nq, m), all rows by angle
    edges : int64 (g + 1,), where the groups begin in `ids`
    """

    rows: Embeddings
    mean: np.ndarray
    queries: np.ndarray
    truth: np.ndarray
    truth_weight: float
    angles: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(
        cls, queries: Embeddings, rows: Embeddings, ids: np.ndarray | None, k: int, pool: int, n: int, center: bool,
        backend: str, threads: int, progress: Progress,
    ) -> Neighbourhood:  # fmt: skip
        """Look at the rows around some queries.

        Parameters
        ----------
        ids : int64 (nq,) or None
            The rows that the queries are, which are no neighbours of their own.
        k, pool : int
            True neighbours asked for, and the largest pool. Where a sample stands for the far rows, as many near ones
            as the pool holds are looked at one by one.
        n : int
            Rows that `rows` stands for.
        """
        points = queries.normalize().block(0, len(queries))
        mean = _mean(rows) if center else np.zeros(rows.shape[1])
        near = min(max(k, _HILL, pool if len(rows) > _FAR_ROWS else 0), len(rows) - (ids is not None))
        listed = exact_topk(
            points, rows, near, query_ids=ids, backend=backend, threads=threads, progress=progress
        ).indices
        centered = _directions(points - mean)
        far = spread_rows(len(rows), _FAR_ROWS)
        angles = np.concatenate(
            [_angles_to(listed, rows, mean, centered), _angles(centered, _directions(_units(rows, far) - mean))], axis=1
        )
        own = listed if ids is None else np.concatenate([listed, ids[:, None]], axis=1)
        rest = len(rows) - (own >= 0).sum(axis=1, keepdims=True)
        standing = ~_members(far, own)
        weight = standing * (rest / np.maximum(standing.sum(axis=1, keepdims=True), 1))
        weights = np.concatenate([listed >= 0, weight], axis=1) * (n / len(rows))
        numbers = np.concatenate([listed, np.broadcast_to(far, weight.shape)], axis=1)
        order = np.argsort(np.where(weights > 0, angles, np.inf), axis=1, kind="stable")
        truth = angles[:, : listed.shape[1]]
        angles, weights, numbers = (np.take_along_axis(values, order, axis=1) for values in (angles, weights, numbers))
        edges = _edges(angles.shape[1])
        number = np.add.reduceat(weights, edges[:-1], axis=1)
        total = np.add.reduceat(weights * angles, edges[:-1], axis=1)
        middle = np.divide(total, number, out=np.full_like(total, np.pi / 2), where=number > 0)
        if n > len(rows):
            middle[:, :_SINGLE] = _quantiles(middle[:, :_SINGLE], np.arange(middle[:, :_SINGLE].shape[1]) + 0.5)
        return cls(rows, mean, centered, truth, n / len(rows), middle, number, numbers, edges)

    def shares(self, law: Law, pools: list[int], k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """What pools of several sizes hold, for each pool and query: (overlap@k, probability of the nearest row).

        Both float64 (len(pools), nq).
        """
        truth = self.truth[:, :k]
        if self.truth_weight > 1:
            truth = _quantiles(self.truth, np.arange(1, k + 1) / self.truth_weight)
        rng = np.random.default_rng([seed, law.n_bits])
        residual = self._rivals(law, pools[0], np.zeros((len(truth), 1)), rng)
        found = []
        for pool in pools:
            residual = self._rivals(law, pool, residual, rng)
            cut = find_cut(law, self.angles, self.weights, pool, residual)
            found.append(kept(law, truth, cut, residual))
        probability = np.stack(found)
        return probability.mean(axis=2), probability[:, :, 0]

    def _rivals(self, law: Law, pool: float, residual: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The residual correlation of the rows that compete for the last places of a pool, from a first guess."""
        inside = kept(law, self.angles, find_cut(law, self.angles, self.weights, pool, residual), residual)
        return self._residual(self.weights * inside * (1 - inside), rng)

    def _residual(self, rivalry: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mean correlation of the directions, seen from each query, of rows drawn by their rivalry; (nq, 1)."""
        found = np.zeros((len(self.queries), 1))
        cumulative = np.cumsum(rivalry, axis=1)
        sizes = np.diff(self.edges)
        for i, query in enumerate(self.queries):
            if cumulative[i, -1] <= 0:  # nobody competes: the pool holds all rows
                continue
            group = np.searchsorted(cumulative[i], rng.random(_COMPETITORS) * cumulative[i, -1])
            group = np.minimum(group, len(sizes) - 1)
            place = self.edges[group] + rng.integers(0, sizes[group])
            ids, times = np.unique(self.ids[i, place], return_counts=True)
            ids, times = ids[ids >= 0], times[ids >= 0]
            rows = _units(self.rows, ids) - self.mean
            rows = _directions(rows - np.outer(rows @ query, query))
            all_pairs, same = np.sum(times) ** 2, np.sum(times**2)
            if all_pairs > same:
                found[i] = (np.sum((times @ rows) ** 2) - same) / (all_pairs - same)
        return np.clip(found, -0.99, 0.99)


def _mean(rows: Embeddings) -> np.ndarray:
    total = np.zeros(rows.shape[1])
    for _, block in rows.normalize().blocks(block_rows(rows.shape[1])):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(rows)


def spread_rows(n: int, count: int, seed: int = 0) -> np.ndarray:
    """At most `count` of n rows, chosen by a hash of their number, in order."""
    if n <= count:
        return np.arange(n)
    return np.sort(np.argpartition(mix64(np.arange(n), seed), count)[:count])


def _edges(n: int) -> np.ndarray:
    grown = _SINGLE * _GROWTH ** np.arange(1, 400)
    edges = np.concatenate([np.arange(_SINGLE + 1), grown[grown < n]]).astype(np.int64)
    return np.unique(np.append(edges[edges < n], n))


def _quantiles(angles: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The angles (nq, r) at fractional ranks of sorted angles (nq, t), the first of which has rank 1.

    Between ranks log angle is linear in log rank. Below 1 it goes on with the slope of the nearest rows, since the
    number of rows within an angle grows as a power of it, the local intrinsic dimension (Hill's estimate of 1 over it).
    """
    logs = np.log(np.maximum(angles, 1e-6))
    last = min(_HILL, angles.shape[1]) - 1
    slope = np.maximum(logs[:, last : last + 1] - logs[:, :last], 0).mean(axis=1) if last else np.zeros(len(logs))
    known = np.log(np.arange(1, angles.shape[1] + 1))
    wanted = np.log(ranks)
    found = np.stack([np.interp(wanted, known, row) for row in logs])
    return np.exp(np.minimum(found + slope[:, None] * np.minimum(wanted, 0), np.log(np.pi)))


def _angles_to(ids: np.ndarray, rows: Embeddings, mean: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Angles (nq, t) of each query and its own list of rows; a right angle for padding."""
    angles = np.full(ids.shape, np.pi / 2)
    for i, query in enumerate(queries):
        real = ids[i] >= 0
        angles[i, real] = _angles(query[None], _directions(_units(rows, ids[i, real]) - mean))[0]
    return angles


def _angles(queries: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(queries @ directions.T, -1.0, 1.0)).astype(np.float64)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def _units(rows: Embeddings, ids: np.ndarray) -> np.ndarray:
    return unit_rows(rows.take(ids))


def _members(sorted_rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which of the sorted rows are in the list of each query; bool (nq, len(sorted_rows))."""
    place = np.minimum(np.searchsorted(sorted_rows, ids), len(sorted_rows) - 1)
    query, column = np.nonzero(sorted_rows[place] == ids)
    members = np.zeros((len(ids), len(sorted_rows)), bool)
    members[query, place[query, column]] = True
    return members
