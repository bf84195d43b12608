"""Quantizers of a projection that someone else has learned."""

import pickle

import numpy as np
import pytest
from helpers import frameworks

import hashneg as hn

RNG = np.random.default_rng(0)
W, BIAS = RNG.standard_normal((19, 8)), RNG.standard_normal(19)
X = RNG.standard_normal((50, 8))


def test_bits_are_those_of_the_linear_layer(backend):
    head = hn.BinaryQuantizer.from_projection(W, -BIAS)
    np.testing.assert_array_equal(head.encode(X).to_signs(), np.where(X @ W.T + BIAS >= 0, 1, -1))
    np.testing.assert_allclose(head.project(X), X @ W.T + BIAS, atol=1e-12)
    np.testing.assert_array_equal(head.thresholds, -BIAS)
    plain = hn.BinaryQuantizer.from_projection(W)
    np.testing.assert_array_equal(plain.encode(X).to_signs(), np.where(X @ W.T >= 0, 1, -1))


@pytest.mark.parametrize("kind", [frameworks.Torch, frameworks.Jax, frameworks.TensorFlow], ids=lambda kind: kind.name)
def test_matrices_of_every_framework(kind):
    make = kind().array
    head = hn.BinaryQuantizer.from_projection(make(W.astype(np.float32)), make(BIAS.astype(np.float32)))
    expected = hn.BinaryQuantizer.from_projection(W.astype(np.float32), BIAS.astype(np.float32))
    assert head.fingerprint == expected.fingerprint


def test_saved_pickled_and_described(tmp_path):
    head = hn.BinaryQuantizer.from_projection(W, BIAS)
    head.save(tmp_path / "q")
    for copy in (hn.BinaryQuantizer.load(tmp_path / "q"), pickle.loads(pickle.dumps(head))):
        assert copy.fingerprint == head.fingerprint
        np.testing.assert_array_equal(copy.encode(X).data, head.encode(X).data)
    assert "rotation='given'" in repr(head)
    assert "d=8)" in repr(head)
    changed = W.copy()
    changed[0, 0] += 1
    assert hn.BinaryQuantizer.from_projection(changed, BIAS).fingerprint != head.fingerprint


def test_the_matrix_is_copied():
    matrix = W.copy()
    head = hn.BinaryQuantizer.from_projection(matrix)
    before = head.encode(X).data
    matrix[:] = 0
    np.testing.assert_array_equal(head.encode(X).data, before)


def test_it_mines_as_it_is():
    head = hn.BinaryQuantizer.from_projection(W, BIAS)
    mined = hn.mine_hard_negatives(X, k=3, quantizer=head, rerank=0)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    found = hn.hamming_topk(head.encode(unit), head.encode(unit), 3, query_ids=np.arange(50))
    np.testing.assert_array_equal(mined.indices, found.indices)


def test_wrong_arguments_and_fitting_are_refused():
    head = hn.BinaryQuantizer.from_projection(W)
    for call in (head.fit, head.partial_fit, hn.BinaryQuantizer(19, rotation="given").fit):
        with pytest.raises(ValueError, match="is not fitted to data"):
            call(X)
    with pytest.raises(ValueError, match=r"thresholds must have shape \(19,\)"):
        hn.BinaryQuantizer.from_projection(W, BIAS[:3])
    with pytest.raises(ValueError, match="matrix holds NaN or infinity, first in row 2"):
        hn.BinaryQuantizer.from_projection(np.where(np.arange(19)[:, None] == 2, np.nan, W))
    with pytest.raises(ValueError, match="thresholds holds NaN or infinity"):
        hn.BinaryQuantizer.from_projection(W, np.full(19, np.inf))
    with pytest.raises(TypeError, match="matrix must be one of float16"):
        hn.BinaryQuantizer.from_projection(np.ones((2, 2), int))
    with pytest.raises(ValueError, match="fitted on 8"):
        head.encode(X[:, :5])
