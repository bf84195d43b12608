"""An index that keeps two numbers of every row, and scores its candidates by them."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from helpers.nested import nested
from safetensors import safe_open
from safetensors.numpy import save_file

import hashneg as hn
from hashneg import theory
from hashneg.hamming.order import best_first

X = nested(900)
X[17] = 0
QUERIES = X[::45].copy()
QUERIES[3] = 0


def made(n_bits=72, x=X, order="given", labels=None, **options):
    quantizer = hn.BinaryQuantizer(n_bits, **options).fit(X)
    index = hn.HammingIndex(quantizer.encode(x), labels, order=order)
    index.keep_rabitq(quantizer, theory.rabitq_rows(quantizer, x))
    return quantizer, index


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["given", "clustered"])
@pytest.mark.parametrize("options", [{}, {"rotation": "hadamard"}, {"rotation": "gaussian", "center": None}])
def test_the_pool_is_sorted_by_its_scores(backend, order, options):
    quantizer, index = made(order=order, **options)
    exclude = np.tile(np.arange(0, 900, 9), (len(QUERIES), 1))
    k, pool = 7, 3
    found = index.scored_topk(QUERIES, k, pool=pool, exclude=exclude, offset=1000, threads=2)
    candidates = hn.hamming_topk(quantizer.encode(QUERIES), quantizer.encode(X), k * pool, exclude=exclude).indices
    rows = theory.rabitq_rows(quantizer, X)
    scores, _ = theory.rabitq_scores(quantizer, rows, quantizer.encode(X), QUERIES, candidates)
    for i in range(len(QUERIES)):
        best = sorted(zip(-scores[i], candidates[i], strict=True))[:k]
        assert found.indices[i].tolist() == [row + 1000 for _, row in best]
        assert found.scores[i].tolist() == [-score for score, _ in best]
    assert not np.isin(found.indices - 1000, exclude[0]).any()


def test_queries_may_have_any_length_and_framework(framework):
    _, index = made()
    expected = index.scored_topk(QUERIES, 5)
    found = index.scored_topk(framework.array(8 * QUERIES), 5)
    assert framework.owns(found.scores)
    np.testing.assert_allclose(framework.to_numpy(found.scores), expected.scores, atol=1e-6)
    np.testing.assert_array_equal(framework.to_numpy(found.indices), expected.indices)


def test_too_few_rows_are_padded(backend):
    _, index = made(x=X[:20])
    index.remove([0, 3])
    found = index.scored_topk(QUERIES, 25, pool=2, allow=np.arange(20) < 10)
    assert found.indices.shape == found.scores.shape == (len(QUERIES), 25)
    assert sorted(found.indices[0, :8].tolist()) == [1, 2, 4, 5, 6, 7, 8, 9]
    assert (found.indices[:, 8:] == -1).all()
    np.testing.assert_array_equal(np.isnan(found.scores), found.indices == -1)
    assert found.scores.dtype == np.float32
    assert index.scored_topk(QUERIES[:0], 3).scores.shape == (0, 3)


@pytest.mark.parametrize("n_bits", [64, 128, 256])
def test_it_finds_more_of_the_true_neighbours_than_hamming_order(n_bits):
    x = nested(4000)
    quantizer = hn.BinaryQuantizer(n_bits).fit(x)
    index = hn.HammingIndex(quantizer.encode(x))
    index.keep_rabitq(quantizer, theory.rabitq_rows(quantizer, x))
    ids = np.arange(0, 4000, 40)
    truth = hn.exact_topk(x[ids], x, 128, query_ids=ids)
    plain = hn.overlap_at_k(index.topk(quantizer.encode(x[ids]), 128, query_ids=ids), truth).mean()
    better = hn.overlap_at_k(index.scored_topk(x[ids], 128, query_ids=ids), truth).mean()
    assert better > plain + 0.02


def test_it_is_kept_by_files_and_copies(backend, tmp_path):
    labels = np.arange(900) % 5
    _, index = made(labels=labels, order="clustered")
    own = {"query_labels": np.arange(len(QUERIES)) % 5}
    expected = index.scored_topk(QUERIES, 6, **own)
    index.save(tmp_path / "index")
    loaded = hn.HammingIndex.load(tmp_path / "index")
    for other in (loaded, copy.deepcopy(index), index.moved_to(np.empty(1))):
        same(other.scored_topk(QUERIES, 6, **own), expected)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "index").read_bytes()


def test_written_rows_bring_their_numbers(backend):
    quantizer, index = made(x=X[:600])
    more, other = X[600:], X[880:890]
    added = index.add(quantizer.encode(more), rabitq=theory.rabitq_rows(quantizer, more))
    assert added.tolist() == list(range(600, 900))
    ids = [4, 700, 4, 9, 700, 11, 12, 13, 14, 15]  # the last of repeated ids wins
    index.update(ids, quantizer.encode(other), rabitq=theory.rabitq_rows(quantizer, other))
    index.remove([500, 9])
    index.update([500], quantizer.encode(X[:1]), rabitq=theory.rabitq_rows(quantizer, X[:1]))
    now = X.copy()
    now[ids], now[500] = other, X[0]
    _, expected = made(x=now)
    expected.remove([9])
    same(index.scored_topk(QUERIES, 30), expected.scored_topk(QUERIES, 30))


def test_a_refused_write_changes_nothing():
    quantizer, index = made()
    before = index.scored_topk(QUERIES, 9)
    codes, rows = quantizer.encode(X[:2]), theory.rabitq_rows(quantizer, X[:2])
    with pytest.raises(ValueError, match="rabitq is missing"):
        index.update([0, 1], codes[::-1])
    with pytest.raises(ValueError, match="rabitq is missing"):
        index.add(codes)
    with pytest.raises(ValueError, match="another mean"):
        index.update([0, 1], codes[::-1], rabitq=rows._replace(mean=rows.mean + 0.1))
    with pytest.raises(ValueError, match=r"rabitq holds \(1,\) and \(1,\) numbers for 2 rows"):
        index.add(codes, rabitq=theory.rabitq_rows(quantizer, X[:1]))
    assert index.n_rows == 900
    same(index.scored_topk(QUERIES, 9), before)
    plain = hn.HammingIndex(codes)
    with pytest.raises(ValueError, match="keeps no such numbers"):
        plain.update([0, 1], codes, rabitq=rows)
    with pytest.raises(ValueError, match="keep_rabitq"):
        plain.scored_topk(QUERIES, 1)


def test_what_does_not_fit_the_index_is_refused():
    quantizer, index = made()
    rows = theory.rabitq_rows(quantizer, X)
    with pytest.raises(ValueError, match="n_bits=40 but the index has n_bits=72"):
        index.keep_rabitq(hn.BinaryQuantizer(40).fit(X), rows)
    with pytest.raises(ValueError, match="mean is not the one"):
        index.keep_rabitq(hn.BinaryQuantizer(72).fit(X[:50]), rows)
    with pytest.raises(ValueError, match="numbers for 900 rows"):
        index.keep_rabitq(quantizer, theory.rabitq_rows(quantizer, X[:5]))
    with pytest.raises(TypeError, match="BinaryQuantizer"):
        index.keep_rabitq(None, rows)
    with pytest.raises(TypeError, match="RabitqRows"):
        index.keep_rabitq(quantizer, None)
    with pytest.raises(ValueError, match="rerank must be one of"):
        index.scored_topk(QUERIES, 1, rerank="exact")
    with pytest.raises(ValueError, match="pool must be at least 1"):
        index.scored_topk(QUERIES, 1, pool=0)
    with pytest.raises(ValueError, match="queries"):
        index.scored_topk(np.full_like(QUERIES, np.nan), 1)


def test_a_damaged_file_is_refused(tmp_path):
    _, index = made()
    index.save(tmp_path / "index")
    with safe_open(tmp_path / "index", framework="numpy") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        about = json.loads(opened.metadata()["hashneg"])
    for damage in (
        {"rabitq.norms": tensors["rabitq.norms"][:-1]},
        {"rabitq.mean": tensors["rabitq.mean"] + 1},
        {"quantizer.thresholds": tensors["quantizer.thresholds"] + 1e-9},
    ):
        save_file(tensors | damage, tmp_path / "damaged", metadata={"hashneg": json.dumps(about)})
        with pytest.raises(ValueError, match="does not hold a sound index"):
            hn.HammingIndex.load(tmp_path / "damaged")


def test_scores_are_sorted_before_indices_and_padding_comes_last():
    scores = np.array([[0.5, 0.7, 0.5, np.nan, -0.1, 0.7]], np.float32)
    ids = np.array([[9, 4, 2, -1, 3, 1]])
    for high in (0, 2**33):  # indices that do not fit beside a score take the other path
        shifted = np.where(ids < 0, ids, ids + high)
        found, order = best_first(scores.copy(), shifted, 5)
        assert order.tolist() == [[1 + high, 4 + high, 2 + high, 9 + high, 3 + high]]
        assert found.tolist() == [np.array([0.7, 0.7, 0.5, 0.5, -0.1], np.float32).tolist()]
        assert best_first(scores.copy(), shifted, 6)[1][0, -1] == -1


def test_a_loaded_index_gives_the_quantizer_that_its_updates_need(tmp_path):
    _, index = made()
    index.save(tmp_path / "index.safetensors")
    loaded = hn.HammingIndex.load(tmp_path / "index.safetensors")
    new = -X[:5]
    with pytest.raises(ValueError, match=r"rabitq_rows\(index.quantizer"):
        loaded.update(np.arange(5), loaded.quantizer.encode(new))
    loaded.update(np.arange(5), loaded.quantizer.encode(new), rabitq=theory.rabitq_rows(loaded.quantizer, new))
    assert loaded.scored_topk(new, 1).indices.ravel().tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(TypeError, match="rabitq must be RabitqRows"):
        loaded.update(np.arange(5), loaded.quantizer.encode(new), rabitq=new)
    assert hn.HammingIndex(loaded.codes()).quantizer is None


def test_fitting_the_quantizer_again_does_not_reach_the_index():
    quantizer, index = made()
    before = index.scored_topk(QUERIES, 3)
    quantizer.fit(3 * X[::-1] + 1)
    index.quantizer.fit(2 * X + 5)
    same(index.scored_topk(QUERIES, 3), before)
