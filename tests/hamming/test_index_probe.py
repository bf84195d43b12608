"""probe: which blocks a clustered index visits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.search_problems import all_distances, assert_same, make_bits, packed
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn


def by_the_rule(index, queries, database, allowed, k, probe, metric, limit):
    """The blocks by (lower bound, number): at least ceil(probe * blocks), and on until k allowed rows are held.

    The bound is the one with a common radius for all blocks, so its order is that of the distance to the center.
    """
    clusters = index._database.clustering
    n_blocks = len(clusters.centers)
    centers = np.unpackbits(clusters.centers, axis=1, count=index.n_bits, bitorder="little").astype(bool)
    to_centers, to_rows = all_distances(queries, centers, metric), all_distances(queries, database, metric)
    distances = np.full((len(queries), k), 2**31 - 1, np.int32)
    indices = np.full((len(queries), k), -1, np.int64)
    for i in range(len(queries)):
        common = int(clusters.radii.max())
        bounds = sorted((int(to_centers[i, b]) - common, b) for b in range(n_blocks))
        held = []
        for visited, (_, block) in enumerate(bounds):
            if visited >= math.ceil(probe * n_blocks) and len(held) >= k:
                break
            rows = clusters.order[block * clusters.size : (block + 1) * clusters.size].tolist()
            held += [(int(to_rows[i, r]), r) for r in rows if allowed[i, r] and to_rows[i, r] <= limit]
        for j, (distance, row) in enumerate(sorted(held)[:k]):
            distances[i, j], indices[i, j] = distance, row
    return distances, indices


@given(
    layout=st.sampled_from(["random", "clustered", "few codes", "farthest first"]),
    n=st.integers(1, 30) | st.integers(1000, 6000),
    n_bits=st.sampled_from([5, 24, 64, 130]),
    k=st.integers(1, 20) | st.sampled_from([600, 2000]),
    probe=st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    metric=st.sampled_from(["hamming", "projected"]),
    density=st.sampled_from([1.0, 0.5, 0.002]),
    seed=st.integers(0, 2**32 - 1),
    limited=st.booleans(),
)
def test_visits_blocks_by_the_rule(backend, layout, n, n_bits, k, probe, metric, density, seed, limited):
    rng = np.random.default_rng(seed)
    q, x = make_bits(layout, 4, n, n_bits, rng)
    index = hn.HammingIndex(packed(x), order="clustered")
    changed = rng.integers(0, n, 20)
    x[changed] = make_bits("random", 0, 20, n_bits, rng)[1]
    index.update(changed, packed(x[changed]))
    x = np.unpackbits(index.codes().data, axis=1, count=n_bits, bitorder="little").astype(bool)
    allowed = rng.random((4, n)) < density
    limit = n_bits // 2 if limited else n_bits
    found = index.topk(packed(q), k, allow=allowed, probe=probe, metric=metric, max_distance=limit, threads=2)
    assert_same(found, by_the_rule(index, q, x, allowed, k, probe, metric, limit))


def test_k_rows_come_back_however_small_the_probe(backend):
    """A probe that stops at its share of the blocks would return too few where masks leave little in them."""
    rng = np.random.default_rng(0)
    q, x = make_bits("clustered", 8, 5000, 64, rng)
    allow = rng.random(5000) < 0.01
    found = hn.HammingIndex(packed(x), order="clustered").topk(packed(q), 30, allow=allow, probe=0.0)
    assert (found.indices >= 0).all()
    assert allow[found.indices].all()


def test_given_order_ignores_probe(backend):
    q, x = make_bits("random", 5, 3000, 64, np.random.default_rng(1))
    index = hn.HammingIndex(packed(x))
    assert_same(index.topk(packed(q), 9, probe=0.01), index.topk(packed(q), 9))


def test_backends_agree_below_one(monkeypatch):
    q, x = make_bits("clustered", 70, 6000, 100, np.random.default_rng(4))
    index = hn.HammingIndex(packed(x), order="clustered")
    for probe in (0.0, 0.1, 0.5):
        plain, fast = (index.topk(packed(q), 30, probe=probe, backend=b) for b in ("reference", "auto"))
        assert_same(fast, plain)


@pytest.mark.parametrize("probe", [0.1, 0.5])
def test_visited_blocks_hold_more_neighbours_than_their_share(backend, probe):
    q, x = make_bits("clustered", 60, 6000, 128, np.random.default_rng(6))
    index = hn.HammingIndex(packed(x), order="clustered")
    share = hn.overlap_at_k(index.topk(packed(q), 10, probe=probe), index.topk(packed(q), 10))
    assert share.mean() > 1.5 * math.ceil(probe * 12) / 12  # 6000 rows are 12 blocks of at most 512
