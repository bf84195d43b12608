"""What multi-index hashing would look up, against plain counting."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import hashneg as hn

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("n_bits", "parts"), [(16, 1), (16, 3), (24, 5), (40, 40)])
def test_every_code_within_the_radius_is_a_candidate(n_bits, parts, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.radius import candidates, probes, radii

    rng = np.random.default_rng(0)
    database = rng.integers(0, 256, (400, n_bits // 8), dtype=np.uint8)
    distances = hn.hamming_distances(database[:1], database)[0]
    bits = np.unpackbits(database, axis=1, bitorder="little")
    for radius in (0, 3, 7, n_bits // 2):
        bounds = list(radii(n_bits, parts, radius))
        assert [start for start, _, _ in bounds] + [n_bits] == [0] + [end for _, end, _ in bounds]
        met = np.zeros(400, bool)
        for start, end, near in bounds:
            met |= (bits[:, start:end] != bits[0, start:end]).sum(axis=1) <= near
        assert met[distances <= radius].all()
        assert candidates(database, database[0], parts, radius) == met.sum()
        wanted = sum(
            sum(sum(code) <= near for code in product((0, 1), repeat=end - start)) for start, end, near in bounds
        )
        assert probes(n_bits, parts, radius) == wanted
