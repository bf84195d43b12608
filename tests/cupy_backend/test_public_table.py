"""CodeTable on an (emulated) device, against the same table on the host."""

from __future__ import annotations

import numpy as np
import pytest
from searches import assert_topk

import hashneg as hn

N, DIM = 50, 12
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, DIM)).astype(np.float32)


def tables_of(gpu, has_labels: bool) -> tuple[hn.CodeTable, hn.CodeTable]:
    """A table on the device and one on the host, with the same history."""
    quantizer, labels = hn.BinaryQuantizer(21).fit(X), np.arange(N) // 4 if has_labels else None
    moved = None if labels is None else gpu.cp.asarray(labels)
    there, here = (
        hn.CodeTable(N, quantizer, labels=moved, like=gpu.cp.empty(0)),
        hn.CodeTable(N, quantizer, labels=labels),
    )
    for seed in (1, 2):
        ids = np.random.default_rng(seed).integers(0, N - 5, 30)
        here.update(ids, X[ids] + seed)
        there.update(gpu.cp.asarray(ids), gpu.cp.asarray(X[ids] + np.float32(seed)))
    return there, here


@pytest.fixture(params=[True, False], ids=["labels", "no labels"])
def tables(request, gpu):
    return tables_of(gpu, request.param)


def assert_alike(gpu, there: hn.CodeTable, here: hn.CodeTable) -> None:
    ids = np.array([4, 0, N - 1, 4, 17])
    exclude, allow = RNG.integers(-1, N, (5, 2)), RNG.random(N) < 0.8
    found = there.mine(*map(gpu.cp.asarray, (ids,)), 9, exclude=gpu.cp.asarray(exclude), allow=gpu.cp.asarray(allow))
    assert_topk(tuple(part.get() for part in found), here.mine(ids, 9, exclude=exclude, allow=allow))
    assert_topk(tuple(part.get() for part in there.mine([N - 1, 3], N + 1)), here.mine([N - 1, 3], N + 1))
    np.testing.assert_array_equal(there.versions(gpu.cp.asarray(ids)).get(), here.versions(ids))
    np.testing.assert_array_equal(there.ages().get(), here.ages())
    np.testing.assert_array_equal(there.codes().data.get(), here.codes().data)
    if here.labels is not None:
        np.testing.assert_array_equal(there.labels.get(), here.labels)
    one, two = there.state_dict(), here.state_dict()
    assert one.keys() == two.keys()
    assert (one["version"], one["pointer"]) == (two["version"], two["pointer"])
    assert {type(value) for value in one.values()} == {type(value) for value in two.values()}


def test_updates_and_refreshes(gpu, tables):
    there, here = tables
    assert_alike(gpu, there, here)
    codes = here.codes([3, 9, 2])
    here.update_codes([8, 11, 8], codes)
    there.update_codes([8, 11, 8], hn.Codes(gpu.cp.asarray(codes.data), 21))
    assert_alike(gpu, there, here)
    for source in (X + 1, None):
        device = gpu.cp.asarray(X - 1) if source is None else gpu.cp.asarray(source)
        rows = there.refresh((lambda ids, x=device: x[gpu.cp.asarray(ids)]) if source is None else device, chunks=3,
                             batch_size=7)  # fmt: skip
        expected = here.refresh(X - 1 if source is None else source, chunks=3)
        np.testing.assert_array_equal(rows.get(), expected)
        assert_alike(gpu, there, here)
    rows = there.refresh(gpu.cp.asarray(2 * X + 1), refit=True)
    np.testing.assert_array_equal(rows.get(), here.refresh(2 * X + 1, refit=True))
    assert there.quantizer.fingerprint == here.quantizer.fingerprint
    assert_alike(gpu, there, here)


def test_drift(gpu, tables):
    there, here = tables
    ids = np.array([1, 5, N - 1, 30])
    drift, expected = there.drift(gpu.cp.asarray(ids), gpu.cp.asarray(X[ids])), here.drift(ids, X[ids])
    assert drift.angle == pytest.approx(expected.angle)
    np.testing.assert_array_equal(drift.distances.get(), expected.distances)
    np.testing.assert_array_equal(drift.angles.get(), expected.angles)
    assert there.refresh_due([1, 5], gpu.cp.asarray(X[[1, 5]]), max_angle=0.01)
    assert np.isnan(there.drift([N - 1], gpu.cp.asarray(X[:1])).angle)


def test_a_state_goes_to_either_side(gpu, tables):
    there, here = tables
    elsewhere = hn.CodeTable(N, 21, like=gpu.cp.empty(0))
    elsewhere.load_state_dict(here.state_dict())
    back = hn.CodeTable(N, 21)
    back.load_state_dict(there.state_dict())
    for table, other in ((elsewhere, here), (there, back)):
        assert_alike(gpu, table, other)
        table.update([7], gpu.cp.asarray(X[:1]))
        other.update([7], X[:1])
        assert_alike(gpu, table, other)


def test_a_step_reads_one_flag(gpu, tables, monkeypatch):
    there, reads = tables[0], []
    monkeypatch.setattr(gpu.cp.ndarray, "__bool__", lambda flag: reads.append(1) or bool(flag.values))
    monkeypatch.setattr(gpu.cp.ndarray, "__int__", lambda number: reads.append(1) or int(number.values))
    monkeypatch.setattr(gpu.cp.ndarray, "get", lambda x: reads.append(1) or x.values.copy())
    ids, rows = gpu.cp.asarray(np.array([3, 5, 3])), gpu.cp.asarray(X[:3])
    there.update(ids, rows)
    assert len(reads) == 1
    found = there.mine(ids, 4, exclude=gpu.cp.asarray(np.array([[1], [2], [-1]])))
    assert {type(part) for part in found} == {gpu.cp.ndarray}
    assert len(reads) == 2


def test_a_call_that_fails_changes_nothing(gpu, tables):
    there, here = tables
    bad = X[:2].copy()
    bad[1, 1] = np.inf
    two = gpu.cp.asarray(np.array([1, 2]))
    for error, match, call, *arguments in (
        (RuntimeError, "embeddings is a numpy array .* share one device", there.update, two, X[:2]),
        (RuntimeError, "ids is a numpy array .* share one device", there.mine, np.array([1]), 3),
        (ValueError, "embeddings holds NaN or infinity, first in row 1", there.update, two, gpu.cp.asarray(bad)),
        (ValueError, r"ids\[1\] is 50; ids must be rows 0 to 49", there.update, [1, N], gpu.cp.asarray(bad)),
        (ValueError, r"ids\[0\] is -1; ids must be rows 0 to 49$", there.mine, [-1], 2),
        (ValueError, "source holds NaN", there.refresh, gpu.cp.asarray(np.full((N, DIM), np.nan, np.float32))),
        (RuntimeError, "source is a numpy array .* share one device", there.refresh, X),
        (RuntimeError, "positives are compared on the host", there.hardest_positives, [1], [[2]]),
        (RuntimeError, "embeddings is a cupy array .* share one device", here.update, [1], gpu.cp.asarray(X[:1])),
    ):
        with pytest.raises(error, match=match):
            call(*arguments)
    with pytest.raises(ValueError, match=r"exclude\[\(1, 0\)\] is 77; ids must be rows 0 to 49, or -1"):
        there.mine(two, 3, exclude=gpu.cp.asarray(np.array([[1], [77]])))
    with pytest.raises(ValueError, match="mode='epoch' keeps embeddings on the host"):
        hn.CodeTable(N, 21, mode="epoch", like=two)
    assert_alike(gpu, there, here)
