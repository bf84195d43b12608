"""The order of a clustered index: blocks, centers, radii, and rows that are far from all others."""

from __future__ import annotations

import numpy as np
import pytest

from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import BLOCK_ROWS
from hashneg.hamming import clustering


def cluster(codes, n_bits):
    return clustering.cluster(codes, n_bits, implementation("distances", choose_backend()))


def distances_to_centers(found, codes):
    """For every row, in the order of the blocks."""
    centers = np.repeat(found.centers, BLOCK_ROWS, axis=0)[: len(codes)]
    return np.bitwise_count(codes[found.order] ^ centers).sum(axis=1, dtype=np.int64)


@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 1023, 1024, 1025, 2047, 5000])
@pytest.mark.parametrize("n_bits", [1, 40, 250])
def test_every_row_has_one_place_within_the_radius_of_its_block(n, n_bits):
    bits = np.random.default_rng(n).random((n, n_bits)) < 0.3
    codes = np.packbits(bits, axis=1, bitorder="little").reshape(n, -(-n_bits // 8))
    found = cluster(codes, n_bits)
    np.testing.assert_array_equal(np.sort(found.order), np.arange(n))
    np.testing.assert_array_equal(found.order[found.positions], np.arange(n))
    assert found.centers.shape == (-(-n // BLOCK_ROWS), codes.shape[1])
    away = distances_to_centers(found, codes)
    for b, radius in enumerate(found.radii):
        assert away[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS].max() == radius


def test_the_center_of_a_block_is_the_majority_of_its_bits():
    """Bits that nearly all rows have: sums of bytes overflow where too many rows are summed at once."""
    bits = np.random.default_rng(0).random((2 * BLOCK_ROWS + 9, 21)) < 0.97
    bits[:, 4] = True
    codes = np.packbits(bits, axis=1, bitorder="little")
    found = cluster(codes, 21)
    for b, center in enumerate(found.centers):
        rows = bits[found.order[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS]]
        expected = np.packbits(2 * rows.sum(axis=0) >= len(rows), bitorder="little")
        np.testing.assert_array_equal(center, expected)


def test_rows_far_from_everything_do_not_widen_all_blocks():
    """One row in twenty is random; put where bisection leaves it, it would give nearly every block its radius."""
    rng = np.random.default_rng(0)
    n, n_bits = 40 * BLOCK_ROWS, 256
    centers = rng.integers(0, 256, (10, n_bits // 8), dtype=np.uint8)
    codes = centers[rng.integers(0, 10, n)] ^ np.packbits(rng.random((n, n_bits)) < 0.1, axis=1)
    strays = rng.choice(n, n // 20, replace=False)
    codes[strays] = rng.integers(0, 256, (len(strays), n_bits // 8), dtype=np.uint8)
    found = cluster(codes, n_bits)
    among = np.isin(found.order, strays).reshape(-1, BLOCK_ROWS).any(axis=1)
    assert among.mean() < 0.5
    assert np.median(found.radii) < 60  # a random row is about 128 bits from any center, one of a cluster 26
