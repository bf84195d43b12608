"""Any framework in, the same framework out."""

from __future__ import annotations

import numpy as np
from helpers.requirements import need

import hashneg as hn

X = np.random.default_rng(0).standard_normal((60, 24)).astype(np.float32)


def test_results_are_of_the_callers_framework_and_equal_numpys(framework):
    tables = [hn.CodeTable(60, hn.BinaryQuantizer(32).fit(X), labels=np.arange(60) // 2) for _ in range(2)]
    ids = np.arange(60)[::-1].copy()
    tables[0].update(ids, X[ids])
    tables[1].update(framework.array(ids), framework.array(X[ids]))
    plain, found = tables[0].mine(ids, 5), tables[1].mine(framework.array(ids), 5)
    np.testing.assert_array_equal(framework.to_numpy(found.indices), plain.indices)
    np.testing.assert_array_equal(framework.to_numpy(found.distances), plain.distances)
    given = framework.array(ids)
    for name in ("versions", "ages", "hardest_positives"):
        np.testing.assert_array_equal(
            framework.to_numpy(getattr(tables[1], name)(given)), getattr(tables[0], name)(ids)
        )
    drift = tables[1].drift(given, framework.array(-X[ids]))
    np.testing.assert_array_equal(framework.to_numpy(drift.angles), tables[0].drift(ids, -X[ids]).angles)
    assert framework.owns(drift.distances)


def test_a_refresh_takes_the_model_of_any_framework(framework):
    table, plain = hn.CodeTable(60, 32), hn.CodeTable(60, 32)
    table.refresh(lambda ids: framework.array(X[ids]), batch_size=7)
    plain.refresh(X)
    np.testing.assert_array_equal(table.codes().data, plain.codes().data)


def test_gradients_are_left_alone():
    torch = need("torch")
    table = hn.CodeTable(60, hn.BinaryQuantizer(32).fit(X))
    x = torch.from_numpy(X).requires_grad_()
    table.update(torch.arange(60), x * 1)
    assert x.grad is None
    np.testing.assert_array_equal(table.codes().data, hn.BinaryQuantizer(32).fit(X).encode(X).data)
