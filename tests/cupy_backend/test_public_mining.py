"""mine_hard_negatives on an (emulated) device, against the same call on the host."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn

RNG = np.random.default_rng(0)
N, M, DIM = 23, 60, 24
ANCHORS = RNG.standard_normal((N, DIM)).astype(np.float32)
CORPUS = np.concatenate([ANCHORS[RNG.integers(0, N, M - 20)] + 0.7 * RNG.standard_normal((M - 20, DIM)),
                         RNG.standard_normal((20, DIM))]).astype(np.float32)  # fmt: skip
QUANTIZER = hn.BinaryQuantizer(40).fit(CORPUS)
POSITIVES = RNG.integers(-1, M, (N, 2))

CALLS = {
    "itself": {"k": 3},
    "labels and margins": {
        "labels": np.arange(N) % 5, "corpus_labels": np.arange(M) % 5, "positives": POSITIVES, "k": 4,
        "absolute_margin": 0.05, "relative_margin": 0.1,
    },
    "limits and ranks": {
        "min_score": -0.3, "max_score": 0.8, "range_min": 2, "range_max": 11, "k": 5,
        "positives": POSITIVES[:, 0].copy(),
    },
    "drawn": {"strategy": "random", "k": 3, "rerank": 3, "seed": 5, "min_score": 0.0},
    "Hamming order": {"rerank": 0, "k": 6, "positives": POSITIVES, "relative_margin": 0.2},
    "Hamming order, drawn": {"rerank": 0, "k": 2, "range_max": 9, "strategy": "random", "max_score": 0.5},
    "dot, masks": {
        "similarity": "dot", "k": 70, "allow": RNG.random((N, M)) < 0.5, "exclude": RNG.integers(-1, M, (N, 3)),
        "query_ids": RNG.integers(-1, M, N),
    },
}  # fmt: skip


def assert_alike(found: hn.HardNegatives, expected: hn.HardNegatives) -> None:
    np.testing.assert_array_equal(found.indices.get(), expected.indices)
    np.testing.assert_array_equal(found.counts.get(), expected.counts)
    np.testing.assert_allclose(found.scores.get(), expected.scores, atol=1e-6, rtol=1e-6)
    one, two = found.report, expected.report
    assert (one.mined, one.short, one.removed, one.pool) == (two.mined, two.short, two.removed, two.pool)
    assert {type(count) for count in one.removed.values()} == {int}
    assert one.fingerprint == two.fingerprint
    for summary, other in ((one.negatives, two.negatives), (one.positives, two.positives)):
        assert (summary is None) == (other is None)
        if other is not None:
            assert summary.count == other.count
            assert summary.mean == pytest.approx(other.mean, abs=1e-5)
            assert list(summary.quantiles.values()) == pytest.approx(list(other.quantiles.values()), abs=1e-5)


@pytest.mark.parametrize("what", CALLS)
def test_it_finds_what_it_finds_on_the_host(gpu, monkeypatch, what):
    """Several slices, and a fitted quantizer, so that both sides have the same codes."""
    monkeypatch.setattr("hashneg.mining.job.MiningJob.slice_rows", 10)
    arguments = CALLS[what]
    corpus = None if what == "itself" else CORPUS
    expected = hn.mine_hard_negatives(ANCHORS, corpus, quantizer=QUANTIZER, **arguments)
    moved = {name: gpu.cp.asarray(x) if isinstance(x, np.ndarray) else x for name, x in arguments.items()}
    there = None if corpus is None else gpu.cp.asarray(corpus)
    assert_alike(hn.mine_hard_negatives(gpu.cp.asarray(ANCHORS), there, quantizer=QUANTIZER, **moved), expected)


@pytest.mark.parametrize("dtypes", [(np.float16, np.float16), (np.float64, np.float32), (np.float16, np.float64)])
def test_types_of_embeddings(gpu, monkeypatch, dtypes):
    """A matrix of a type of its own on each side; pairs are gathered some rows at a time where squares may overflow."""
    monkeypatch.setattr("hashneg.mining.device_scoring._GATHER_BYTES", 5000)
    x, y = ANCHORS.astype(dtypes[0]), CORPUS.astype(dtypes[1])
    for rows in (x, y):
        if rows.dtype == np.float64:
            rows[3] *= 1e200
    y[4] = 0
    expected = hn.mine_hard_negatives(x, y, quantizer=QUANTIZER, k=4, positives=POSITIVES)
    there = hn.mine_hard_negatives(*map(gpu.cp.asarray, (x, y)), quantizer=QUANTIZER, k=4,
                                   positives=gpu.cp.asarray(POSITIVES))  # fmt: skip
    assert_alike(there, expected)


@pytest.mark.parametrize("corpus", [True, False])
def test_a_quantizer_is_fitted_on_the_device(gpu, corpus):
    arguments = {"quantizer": 64, "k": 3, "rerank": 2}
    here, there = (CORPUS, gpu.cp.asarray(CORPUS)) if corpus else (None, None)
    expected = hn.mine_hard_negatives(ANCHORS, here, **arguments)
    found = hn.mine_hard_negatives(gpu.cp.asarray(ANCHORS), there, **arguments)
    np.testing.assert_array_equal(found.indices.get(), expected.indices)


def test_values_are_checked_with_one_flag(gpu, monkeypatch):
    reads = []
    monkeypatch.setattr(gpu.cp.ndarray, "__bool__", lambda flag: reads.append(1) or bool(flag.values))
    there = gpu.cp.asarray(ANCHORS)
    arguments = {"positives": gpu.cp.asarray(POSITIVES), "exclude": gpu.cp.asarray(POSITIVES), "quantizer": QUANTIZER}
    hn.mine_hard_negatives(there, gpu.cp.asarray(CORPUS), k=2, **arguments)
    assert len(reads) == 1
    bad = CORPUS.copy()
    bad[40, 0] = np.nan
    for match, corpus, more in (
        ("corpus holds NaN or infinity, first in row 40", bad, {}),
        (r"positives\[1\] is 60; ids must be rows 0 to 59", CORPUS, {"positives": [1, 60] + [2] * (N - 2)}),
        (r"exclude\[\(0, 0\)\] is -2", CORPUS, {"exclude": gpu.cp.asarray(np.full((N, 1), -2))}),
    ):
        with pytest.raises(ValueError, match=match):
            hn.mine_hard_negatives(there, gpu.cp.asarray(corpus), **arguments | more)


@pytest.mark.parametrize(
    "what", [{"score_fn": lambda a, b: a}, {"rerank": "rabitq"}, {"strategy": "unremix"}, {"probe": 0.5}]
)
def test_what_runs_on_the_host_is_refused(gpu, what):
    with pytest.raises(RuntimeError, match=f"^{next(iter(what))}.* runs on the host, but anchors lie on a CUDA device"):
        hn.mine_hard_negatives(gpu.cp.asarray(ANCHORS), k=1, **what)


def test_all_arrays_share_one_device(gpu):
    there = gpu.cp.asarray(ANCHORS)
    for anchors, more in (
        (there, {"corpus": CORPUS}), (ANCHORS, {"corpus": there}), (there, {"positives": np.arange(N)}),
        (there, {"labels": np.arange(N)}), (there, {"allow": np.ones(N, bool)}), (there, {"backend": "cpu"}),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"share one device|computes on arrays of the host"):
            hn.mine_hard_negatives(anchors, **more)
