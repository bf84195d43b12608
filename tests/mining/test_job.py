"""MiningJob: slices, memory, quantizers, and inputs that stay on disk."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers.six_steps import unit

import hashneg as hn
from hashneg.mining.job import Mined, MiningJob


def embeddings(n=500, d=16, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


def assert_equal(a, b):
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.counts, b.counts)


@pytest.mark.parametrize("strategy", ["top", "random"])
@pytest.mark.parametrize("rerank", [0, 3])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("probe", [1.0, 0.3])
def test_slices_equal_the_whole_bit_for_bit(backend, strategy, rerank, itself, probe):
    x, corpus = embeddings(), None if itself else embeddings(1500, seed=1)
    m = 500 if itself else 1500
    rng = np.random.default_rng(2)
    arguments = {
        "positives": rng.integers(-1, m, (500, 2)), "exclude": rng.integers(-1, m, (500, 3)),
        "labels": rng.integers(0, 9, 500), "allow": rng.random((500, m)) < 0.8, "relative_margin": 0.05,
        "quantizer": 64, "k": 6,
    }  # fmt: skip
    if not itself:
        arguments |= {"corpus_labels": rng.integers(0, 9, m), "query_ids": rng.integers(-1, m, 500)}
    whole = hn.mine_hard_negatives(x, corpus, rerank=rerank, strategy=strategy, probe=probe, **arguments)
    job = MiningJob(x, corpus, rerank=rerank, strategy=strategy, probe=probe, **arguments)
    job.prepare()
    parts = [job.mine(start, stop) for start, stop in ((0, 0), (0, 1), (1, 64), (64, 321), (321, 500))]
    joined = Mined.joined(parts)
    assert_equal(joined, whole)
    report = job.report(joined)
    assert (report.removed, report.mined, report.short) == (
        whole.report.removed,
        whole.report.mined,
        whole.report.short,
    )
    assert (report.negatives, report.positives) == (whole.report.negatives, whole.report.positives)


def test_a_run_in_small_slices_equals_one(backend, monkeypatch):
    x = embeddings()
    whole = hn.mine_hard_negatives(x, k=5, strategy="random")
    monkeypatch.setattr("hashneg.mining.job._SLICE_BYTES", 16 * 20 * 7)
    job = MiningJob(x, k=5, strategy="random")
    assert job.slice_rows == 7
    assert_equal(job.run(), whole)


def test_slices_shrink_with_the_pool():
    """A rank window of millions must not make a slice of gigabytes."""
    x = np.broadcast_to(np.ones(4, np.float32), (2_000_000, 4))
    job = MiningJob(x[:10], x, k=1, range_max=1_000_000)
    assert job.slice_rows * job.pool * 16 <= 128 << 20


def test_no_more_candidates_than_rows():
    job = MiningJob(embeddings(30), k=1000, rerank=1000)
    assert job.pool == 30


def test_memory_stays_far_below_all_pairs(backend):
    """A matrix of all pairs took 40 GB for 100k x 100k (sentence-transformers #3164); here 20k x 20k must not."""
    n = 3000 if backend == "reference" else 20_000
    x = embeddings(n, 16)
    quantizer = hn.BinaryQuantizer(64).fit(unit(x))
    hn.mine_hard_negatives(x[:600], k=4, quantizer=quantizer)  # compiles outside the measurement
    tracemalloc.start()
    try:
        hn.mine_hard_negatives(x, k=4, quantizer=quantizer, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bound = n * n / (4 if backend == "cpu" else 1)  # bytes; a float32 matrix of all pairs has 4 n^2
    assert peak < bound, f"{peak / 1e6:.0f} MB at the peak for {n} rows"


def test_an_unfitted_quantizer_stays_unfitted(backend):
    quantizer = hn.BinaryQuantizer(48, seed=5)
    x = embeddings()
    mined = hn.mine_hard_negatives(x, quantizer=quantizer, k=4)
    assert quantizer.dim is None
    with pytest.raises(hn.NotFittedError):
        quantizer.encode(x)
    by_number = hn.mine_hard_negatives(x, quantizer=48, seed=5, k=4)
    assert_equal(mined, by_number)
    assert mined.report.fingerprint == by_number.report.fingerprint


def test_a_fitted_quantizer_is_used_and_left_alone(backend):
    x, corpus = embeddings(), embeddings(800, seed=1)
    quantizer = hn.BinaryQuantizer(48, seed=5).fit(embeddings(100, seed=9))
    before = quantizer.fingerprint
    mined = hn.mine_hard_negatives(x, corpus, quantizer=quantizer, k=4, rerank=0)
    assert mined.report.fingerprint == quantizer.fingerprint == before
    found = hn.hamming_topk(quantizer.encode(unit(x)), quantizer.encode(unit(corpus)), 4)
    np.testing.assert_array_equal(mined.indices, found.indices)


def test_the_quantizer_is_fitted_on_the_normalised_corpus(backend):
    x, corpus = embeddings() * 7, embeddings(800, seed=1) * np.geomspace(1, 50, 800)[:, None].astype(np.float32)
    quantizer = hn.BinaryQuantizer(64, seed=3).fit(unit(corpus))
    mined = hn.mine_hard_negatives(x, corpus, quantizer=64, seed=3, k=4)
    assert_equal(mined, hn.mine_hard_negatives(x, corpus, quantizer=quantizer, k=4))
    assert mined.report.fingerprint == quantizer.fingerprint


def test_memory_maps_are_read_in_place(backend, tmp_path):
    x = embeddings(700, dtype=np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_equal(hn.mine_hard_negatives(mapped, k=5), hn.mine_hard_negatives(x, k=5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_equal_their_float32(backend, dtype):
    if dtype == "bfloat16":
        narrow = embeddings().astype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        narrow = embeddings().astype(dtype)
    mined, wide = hn.mine_hard_negatives(narrow, k=5), hn.mine_hard_negatives(narrow.astype(np.float32), k=5)
    assert mined.scores.dtype == np.float32
    np.testing.assert_allclose(mined.scores, wide.scores, atol=1e-6)
    np.testing.assert_array_equal(mined.indices, wide.indices)


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32"), ("float16", "float32")])
def test_anchors_and_corpus_may_differ_in_dtype(backend, dtypes):
    x, corpus = embeddings(), embeddings(800, seed=1)
    quantizer = hn.BinaryQuantizer(64).fit(unit(corpus))
    mined = hn.mine_hard_negatives(x.astype(dtypes[0]), corpus.astype(dtypes[1]), k=5, quantizer=quantizer)
    wide = hn.mine_hard_negatives(x.astype(dtypes[0]).astype(np.float32), corpus, k=5, quantizer=quantizer)
    np.testing.assert_allclose(mined.scores, wide.scores, atol=1e-5)
    assert (mined.indices == wide.indices).mean() > 0.99


def test_a_corpus_beyond_float32_is_scored_in_float64(backend):
    """float64 rows that overflow float32 must not turn into infinities on their way to the scores."""
    corpus = embeddings(200, seed=1).astype(np.float64)
    plain = hn.mine_hard_negatives(embeddings(), corpus, k=5)
    large = hn.mine_hard_negatives(embeddings(), corpus * 1e100, k=5)
    np.testing.assert_allclose(large.scores, plain.scores, atol=1e-6)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_rows_whose_squares_overflow_are_scored_as_others(backend, scale):
    anchors, corpus = embeddings().astype(np.float64), embeddings(200, seed=1).astype(np.float64)
    plain = hn.mine_hard_negatives(anchors, corpus, k=5)
    extreme = hn.mine_hard_negatives(anchors * scale, corpus * scale, k=5)
    np.testing.assert_allclose(extreme.scores, plain.scores, atol=1e-6)


def test_opposite_codes_have_the_cosine_of_opposite_rows(backend):
    x = embeddings()
    quantizer = hn.BinaryQuantizer(40, center=None).fit(unit(x))
    mined = hn.mine_hard_negatives(x[:9], -x[:9], query_ids=np.full(9, -1), k=9, quantizer=quantizer, rerank=0)
    assert (mined.indices[:, -1] == np.arange(9)).all()
    np.testing.assert_allclose(mined.scores[:, -1], -1, atol=1e-6)


def test_a_corpus_in_several_parts_is_one_corpus(backend):
    x, corpus = embeddings(), embeddings(800, seed=1)
    parts = [corpus[:1], corpus[1:500], corpus[500:500], corpus[500:]]
    assert_equal(hn.mine_hard_negatives(x, parts, k=5), hn.mine_hard_negatives(x, corpus, k=5))


def test_no_anchors_mine_nothing(backend):
    mined = hn.mine_hard_negatives(embeddings(0), embeddings(), positives=np.empty(0, np.int64), k=5)
    assert mined.indices.shape == mined.scores.shape == (0, 5)
    assert mined.counts.shape == (0,)
    assert mined.report.negatives is None
    str(mined.report)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_no_positives_at_all_are_no_positives(backend, dtype):
    x = embeddings(dtype=dtype)
    for none in (np.empty((500, 0), np.int64), np.full(500, -1), np.full((500, 2), -1)):
        mined = hn.mine_hard_negatives(x, positives=none, relative_margin=0.5, k=4)
        assert_equal(mined, hn.mine_hard_negatives(x, k=4))


def test_an_empty_corpus_is_named():
    with pytest.raises(ValueError, match="corpus has no rows"):
        hn.mine_hard_negatives(embeddings(), embeddings(0))
    with pytest.raises(ValueError, match="anchors has no rows"):
        hn.mine_hard_negatives(embeddings(0))


def test_an_empty_corpus_with_a_fitted_quantizer_pads(backend):
    quantizer = hn.BinaryQuantizer(16).fit(embeddings())
    mined = hn.mine_hard_negatives(embeddings(), embeddings(0), quantizer=quantizer, k=3)
    assert (mined.indices == -1).all()
    assert mined.counts.sum() == 0


def test_progress_and_report(backend):
    seen = []
    mined = hn.mine_hard_negatives(embeddings(), k=3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (500, 500)
    report = mined.report
    assert set(report.seconds) == {"fit", "encode", "index", "search", "rerank", "filter"}
    assert min(report.seconds.values()) >= 0
    assert report.negatives.count == 1500
    assert report.negatives.mean == pytest.approx(mined.scores.mean(), abs=1e-6)
    assert report.negatives.quantiles[0.5] == pytest.approx(np.median(mined.scores), abs=1e-6)
    assert report.negatives.quantiles[1.0] == mined.scores.max()
    assert "anchors short of k" in str(report)


def test_nothing_is_printed_unless_it_was_asked_for(capfd):
    mined = hn.mine_hard_negatives(embeddings(), k=3)
    hn.hamming_topk(mined.indices.astype(np.uint8), mined.indices.astype(np.uint8), 2)
    hn.hamming_range(mined.indices.astype(np.uint8), mined.indices.astype(np.uint8), 2)
    hn.exact_topk(embeddings(), embeddings(), 2)
    assert capfd.readouterr() == ("", "")


def test_score_functions_see_each_pair_once_and_no_padding(backend):
    x = embeddings(40)
    asked = []

    def score(anchors, rows):
        asked.extend(zip(anchors.tolist(), rows.tolist(), strict=True))
        return (anchors + rows).astype(np.float64)

    mined = hn.mine_hard_negatives(x, k=30, rerank=2, score_fn=score, max_score=50)
    assert len(asked) == len(set(asked)) == 40 * 39
    assert all(0 <= j < 40 and i != j for i, j in asked)
    for i in range(40):
        wanted = [j for j in range(39, -1, -1) if j != i and i + j <= 50][:30]
        assert mined.indices[i, : mined.counts[i]].tolist() == wanted


def test_score_functions_may_use_a_framework(backend, framework):
    table = np.random.default_rng(0).random((50, 50)).astype(np.float32)
    plain = hn.mine_hard_negatives(embeddings(50), k=4, score_fn=lambda a, c: table[a, c])
    other = hn.mine_hard_negatives(embeddings(50), k=4, score_fn=lambda a, c: framework.array(table[a, c]))
    assert_equal(plain, other)


def test_score_functions_may_return_bfloat16(backend):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    table = np.random.default_rng(0).random((50, 50)).astype(bfloat16)
    mined = hn.mine_hard_negatives(embeddings(50), k=4, score_fn=lambda a, c: table[a, c])
    wide = table.astype(np.float32)
    assert_equal(mined, hn.mine_hard_negatives(embeddings(50), k=4, score_fn=lambda a, c: wide[a, c]))


def test_frameworks_go_in_and_come_out(backend, framework):
    x, corpus = embeddings(60), embeddings(200, seed=1)
    positives, labels, other = np.arange(60), np.arange(60) % 7, np.arange(200) % 7
    arguments = {"k": 4, "quantizer": 64}
    plain = hn.mine_hard_negatives(x, corpus, positives=positives, labels=labels, corpus_labels=other, **arguments)
    f = framework.array
    mined = hn.mine_hard_negatives(
        f(x), f(corpus), positives=f(positives), labels=f(labels), corpus_labels=f(other), **arguments
    )
    assert framework.to_numpy(mined.indices).dtype == (np.int64 if framework.has_int64 else np.int32)
    for name in ("indices", "scores", "counts"):
        np.testing.assert_array_equal(framework.to_numpy(getattr(mined, name)), getattr(plain, name))
