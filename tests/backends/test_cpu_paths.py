"""The paths that the CPU backend takes only on large inputs or other processors, forced on small ones."""

import numpy as np
import pytest

import hashneg as hn

search = pytest.importorskip("hashneg.backends.cpu.search")
layout = pytest.importorskip("hashneg.backends.cpu.layout")
guess = pytest.importorskip("hashneg.backends.cpu.guess")
tile = pytest.importorskip("hashneg.backends.cpu.tile")


def random_codes(rng, n, n_bits):
    return hn.Codes.from_signs(rng.standard_normal((n, n_bits)) + rng.standard_normal(n_bits))


def assert_same(database, queries, k, **options):
    fast = hn.hamming_topk(queries, database, k, backend="cpu", **options)
    slow = hn.hamming_topk(queries, database, k, backend="reference", **options)
    np.testing.assert_array_equal(fast.distances, slow.distances)
    np.testing.assert_array_equal(fast.indices, slow.indices)


@pytest.fixture
def eager_guesses(monkeypatch):
    """Guess limits from every second block, however few there are."""
    monkeypatch.setattr(guess, "_FEWEST_BLOCKS", 1)
    monkeypatch.setattr(guess, "_BLOCKS_A_SAMPLE", 2)


@pytest.mark.parametrize("words", [4, 8])
@pytest.mark.parametrize("n_bits", [1, 7, 63, 64, 130, 511, 512, 1023])
def test_every_vector_width_gives_the_reference_result(monkeypatch, words, n_bits):
    if words > layout.vector_words():
        pytest.skip("this processor has no 512-bit vectors")
    monkeypatch.setattr(layout, "vector_words", lambda: words)
    rng = np.random.default_rng(n_bits)
    database, queries = random_codes(rng, 1300, n_bits), random_codes(rng, 9, n_bits)
    assert_same(database, queries, 40)
    assert_same(database, queries, 40, metric="projected", max_distance=n_bits // 3)


@pytest.mark.parametrize("n_bits", [9, 65, 200])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("metric", ["hamming", "projected"])
def test_queries_that_share_rows_are_counted_right(n_bits, spread, metric):
    """Trees of all depths: equal, similar and unrelated queries, of few and of many ones, at every limit."""
    rng = np.random.default_rng(n_bits)
    centers = rng.random((6, n_bits)) < np.linspace(0.1, 0.9, 6)[:, None]
    bits = centers[rng.integers(0, 6, 1700)] ^ (rng.random((1700, n_bits)) < spread)
    codes = hn.Codes.from_signs(np.where(bits, 1.0, -1.0))
    queries, database = codes[:131], codes[131:]
    for k, max_distance in ((3, None), (40, n_bits // 4), (2000, 1), (9, 0)):
        assert_same(database, queries, k, metric=metric, max_distance=max_distance)


@pytest.mark.parametrize("k", [1, 5, 600, 5000])
@pytest.mark.parametrize("max_distance", [None, 12])
def test_guessed_limits_do_not_change_the_result(eager_guesses, k, max_distance):
    rng = np.random.default_rng(k)
    database, queries = random_codes(rng, 4321, 33), random_codes(rng, 70, 33)
    assert_same(database, queries, k, max_distance=max_distance, allow=rng.random(4321) < 0.3)


def test_a_guess_that_is_too_low_is_searched_again(monkeypatch):
    """All near rows lie in the sampled blocks, so that the sample promises twice as many as there are."""
    step = 1024 // (64 * layout.vector_words())
    monkeypatch.setattr(guess, "sampled_blocks", lambda first, last: np.arange(first, last, step))
    scans = []
    visit_blocks = tile.visit.visit_blocks
    monkeypatch.setattr(tile.visit, "visit_blocks", lambda *args: (scans.append(1), visit_blocks(*args)))
    rng = np.random.default_rng(0)
    near, far = np.zeros((512, 8), np.uint8), np.full((512, 8), 255, np.uint8)
    near[:, 0] = rng.integers(0, 256, 512)
    blocks = np.concatenate([near, far] * 4)
    queries = np.zeros((6, 8), np.uint8)
    queries[3:] = 255  # the sample holds nothing near these: their guess is too high, not too low
    for k in (1800, 2047):
        scans.clear()
        assert_same(blocks, queries, k, threads=1)
        assert len(scans) == 2  # with the guess, and once more without it


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("n_queries", [1, 2, 5])
def test_few_queries_share_the_database_among_threads(monkeypatch, threads, n_queries):
    monkeypatch.setattr(search, "_FEWEST_BLOCKS", 1)
    rng = np.random.default_rng(threads)
    database, queries = random_codes(rng, 3000, 20), random_codes(rng, n_queries, 20)  # 20 bits: many ties
    assert_same(database, queries, 50, threads=threads)
    index = hn.HammingIndex(database)
    fast, slow = index.topk(queries, 50, threads=threads), index.topk(queries, 50, backend="reference")
    np.testing.assert_array_equal(fast.indices, slow.indices)


def test_small_buffers_are_compacted(monkeypatch):
    """Rows come ever closer, so that every row survives when it is seen."""
    monkeypatch.setattr(tile, "_TILE_BYTES", 1)
    bits = np.triu(np.ones((3000, 3000), bool))[:, ::2]
    database = np.packbits(bits, axis=1, bitorder="little")[:, :64]
    assert_same(database, database[-3:], 7)
    assert_same(database, database[-9:], 1500)
