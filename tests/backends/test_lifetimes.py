"""Kernels read by address: what they read must be alive, contiguous and within bounds."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn
from hashneg.backends import implementation
from hashneg.backends.request import Database, Exclusions, Projection, Search
from hashneg.progress import Meter


def test_the_scratch_of_a_kernel_outlives_it():
    """Numba freed the scratch before the loop, and a sort inside the loop got its memory: a segmentation fault."""
    rng = np.random.default_rng(0)
    codes = hn.Codes(rng.integers(0, 256, (12_000, 128), np.uint8), 1024)
    queries = hn.Codes(rng.integers(0, 256, (300, 128), np.uint8), 1024)
    found = hn.HammingIndex(codes, order="clustered").topk(queries, 1100, threads=1)
    plain = hn.hamming_topk(queries, codes, 1100)
    np.testing.assert_array_equal(found.indices, plain.indices)
    np.testing.assert_array_equal(found.distances, plain.distances)


@pytest.mark.parametrize("layout", ["columns", "reversed", "fortran"])
def test_exclusions_of_any_layout_are_read_where_they_lie(backend, layout):
    """Contiguous copies were freed while the kernel read them: rows of the query's own label came back."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((700, 5), dtype=np.float32)

    def laid_out(values):
        if layout == "columns":
            return np.stack([values, np.zeros_like(values)], axis=values.ndim)[..., 0]
        return values[::-1].copy()[::-1] if layout == "reversed" else np.asfortranarray(values)

    plain = {
        "query_ids": rng.integers(-1, 700, 700),
        "query_labels": rng.integers(0, 4, 700),
        "database_labels": rng.integers(0, 4, 700),
        "exclude": rng.integers(-1, 700, (700, 6)),
        "allow": rng.random((700, 700)) < 0.7,
    }
    strange = {name: laid_out(values) for name, values in plain.items()}
    one, other = (hn.exact_topk(x, x, 9, backend=backend, **masks) for masks in (plain, strange))
    np.testing.assert_array_equal(one.indices, other.indices)
    codes = hn.Codes.from_signs(x)
    one, other = (hn.hamming_topk(codes, codes, 9, backend=backend, **masks) for masks in (plain, strange))
    np.testing.assert_array_equal(one.indices, other.indices)


@pytest.mark.parametrize("kind", ["dense", "hadamard", "identity"])
def test_projection_reads_rows_of_any_layout(backend, kind):
    """Strided rows were read as if they were contiguous, and every bit of a sample looked constant."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((90, 16), dtype=np.float32)
    signs = rng.choice([-1.0, 1.0], (1, 3, 16))
    projection = Projection(kind, rng.standard_normal(16), rng.standard_normal((16, 16)), signs)
    for operation in ("project", "encode"):
        run = implementation(operation, backend)
        for strange in (rows[::4], rows[::-1], np.asfortranarray(rows)):
            np.testing.assert_array_equal(run(strange, projection), run(np.ascontiguousarray(strange), projection))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-85, 1e80, 1e200])
@pytest.mark.parametrize("rerank", [0, 4])
def test_cosine_of_float64_rows_of_any_length(backend, scale, rerank):
    """The product of the squared lengths overflowed or vanished."""
    x = np.random.default_rng(3).standard_normal((60, 8))
    plain = hn.mine_hard_negatives(x, k=3, quantizer=32, rerank=rerank, backend=backend)
    scaled = hn.mine_hard_negatives(x * scale, k=3, quantizer=32, rerank=rerank, backend=backend)
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    np.testing.assert_allclose(scaled.scores, plain.scores, atol=1e-6)


def test_scores_of_long_rows_agree_with_float64():
    """Sums over thousands of positive products drifted by more than 1e-6."""
    x = np.random.default_rng(4).random((40, 9000), dtype=np.float32)
    found = hn.exact_topk(x, x, 40, backend="cpu")
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(found.scores, np.take_along_axis(unit @ unit.T, found.indices, axis=1), atol=1e-6)


def test_unchecked_ids_are_not_read(monkeypatch, backend):
    """HASHNEG_CHECK=0 promises wrong results for wrong ids, not a crash."""
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    run = implementation("pair_scores", backend)
    x = np.ones((3, 4), np.float32)
    if backend == "cpu":
        assert np.isnan(run(x, x, np.array([[10**10], [-2], [3]]), True)).all()


def test_unchecked_padding_bits_are_not_counted(monkeypatch):
    monkeypatch.setenv("HASHNEG_CHECK", "0")
    dirty = np.random.default_rng(5).integers(0, 256, (600, 2), np.uint8)
    clean = dirty & np.array([255, 1], np.uint8)
    search = Search(9, 9, Exclusions())
    with Meter(False, 20, "", "") as meter:
        for layout in (dirty, clean):
            found = implementation("topk", "cpu")(Database(layout, 9), clean[:20], 7, search, 1, meter)
            if layout is dirty:
                first = found
    np.testing.assert_array_equal(first[0], found[0])
    np.testing.assert_array_equal(first[1], found[1])


def test_an_interrupted_add_leaves_the_index_as_it_was(monkeypatch):
    rng = np.random.default_rng(6)
    index = hn.HammingIndex(rng.integers(0, 256, (100, 4), np.uint8))
    near = np.zeros((10, 4), np.uint8)
    write = type(index)._write

    def interrupted(self, *args):
        write(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(index), "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.add(near)
    assert index.n_rows == 100
    assert index.topk(near[:1], 100).indices.max() < 100
