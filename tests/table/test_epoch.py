"""CodeTable, mode="epoch": codes stand still during an epoch and are rebuilt at its end."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 20)).astype(np.float32)
Y = RNG.standard_normal((300, 20)).astype(np.float32) + 1


def rebuilt(x: np.ndarray, n_bits: int = 48, **settings) -> np.ndarray:
    half = x.astype(np.float16)
    return hn.BinaryQuantizer(n_bits, **settings).fit(half).encode(half).data


@pytest.mark.parametrize("settings", [{}, {"rotation": "hadamard", "center": "median"}, {"seed": 3}])
def test_codes_are_those_of_the_epochs_embeddings_in_float16(backend, settings):
    table = hn.CodeTable(300, hn.BinaryQuantizer(48, **settings), mode="epoch")
    for ids in RNG.permutation(300).reshape(6, 50):
        table.update(ids, X[ids])
    assert (table.mine(range(300), 3).indices == -1).all()  # nothing before the first rebuild
    assert table.refresh().tolist() == list(range(300))
    np.testing.assert_array_equal(table.codes().data, rebuilt(X, **settings))


def test_codes_stand_still_until_the_end_of_the_epoch(backend):
    table = hn.CodeTable(300, 48, mode="epoch")
    table.update(range(300), X)
    table.refresh()
    before = table.mine(range(300), 7)
    ages = table.ages()
    table.update(range(100), Y[:100])
    after = table.mine(range(300), 7)
    np.testing.assert_array_equal(after.indices, before.indices)
    np.testing.assert_array_equal(table.ages(), ages + 1)
    table.refresh()
    mixed = np.concatenate([Y[:100], X[100:]])  # rows of earlier epochs are rebuilt by the new thresholds too
    np.testing.assert_array_equal(table.codes().data, rebuilt(mixed))
    assert table.ages().tolist() == [0] * 100 + [1] * 200


def test_rows_without_embeddings_stay_without_codes(backend):
    table = hn.CodeTable(300, 48, mode="epoch")
    some = np.arange(0, 300, 7)
    table.update(some, X[some])
    assert table.refresh().tolist() == some.tolist()
    np.testing.assert_array_equal(table.codes(some).data, rebuilt(X[some]))
    found = table.mine(range(300), 3)
    assert set(np.unique(found.indices)) <= {-1, *some.tolist()}
    assert ((found.indices == -1).all(axis=1) == (table.versions() == 0)).all()


def test_numbers_beyond_float16_are_refused_and_change_nothing():
    table = hn.CodeTable(4, 8, mode="epoch")
    table.update(range(4), X[:4])
    bad = X[4:8].copy()
    bad[2, 3] = 1e5
    with pytest.raises(ValueError, match=r"embeddings\[2\].*65504"):
        table.update(range(4), bad)
    assert table.version == 1
    table.refresh()
    np.testing.assert_array_equal(table.codes().data, rebuilt(X[:4], 8))


def test_a_shape_the_quantizer_cannot_take_is_refused_at_once():
    table = hn.CodeTable(40, hn.BinaryQuantizer(21, rotation="itq"), mode="epoch")
    with pytest.raises(ValueError, match="itq"):
        table.update(range(40), X[:40])
    table.update(range(40), np.concatenate([X, X], axis=1)[:40])
    with pytest.raises(ValueError, match="20 dimensions, but the table keeps 40"):
        table.update([0], X[:1])


def test_refresh_says_what_it_needs():
    table = hn.CodeTable(4, 8, mode="epoch")
    with pytest.raises(ValueError, match="nothing to rebuild"):
        table.refresh()
    with pytest.raises(ValueError, match="update"):
        table.refresh(X[:4])
    with pytest.raises(ValueError, match="chunks"):
        table.refresh(chunks=2)
