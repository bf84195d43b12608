"""A table is its state: one that loads it goes on bit for bit, and a failed call changes nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import hashneg as hn

N, DIM = 90, 16
X = np.random.default_rng(0).standard_normal((N, DIM))


def new(mode: str) -> hn.CodeTable:
    return hn.CodeTable(N, 40, mode=mode, labels=np.arange(N) // 3)


def steps(table: hn.CodeTable, seed: int, count: int) -> None:
    """A piece of a training run."""
    rng = np.random.default_rng(seed)
    for step in range(count):
        ids = rng.integers(0, N, 20)
        table.update(ids, X[ids] + 0.1 * rng.standard_normal((20, DIM)))
        if step % 3 == 2:
            table.refresh() if table.mode == "epoch" else table.refresh(X + 0.1, chunks=4)


def assert_same_state(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_same_state(value, two[name])
        elif isinstance(value, np.ndarray):
            assert value.dtype == two[name].dtype, name
            np.testing.assert_array_equal(value, two[name])
        else:
            assert value == two[name], name


@pytest.mark.parametrize("rotation", ["orthogonal", "hadamard", "itq"])
@pytest.mark.parametrize("mode", ["live", "epoch"])
def test_a_resumed_run_equals_one_that_was_not_stopped(mode, rotation):
    n_bits = {"itq": 10}.get(rotation, 40)
    tables = [hn.CodeTable(N, hn.BinaryQuantizer(n_bits, rotation=rotation), mode=mode) for _ in range(2)]
    if mode == "live":
        tables[0].refresh(X)
    steps(tables[0], 1, 4)
    tables[1].load_state_dict(pickle.loads(pickle.dumps(tables[0].state_dict())))
    for table in tables:
        steps(table, 2, 7)
    assert_same_state(tables[0].state_dict(), tables[1].state_dict())
    one, two = (table.mine(range(N), 9) for table in tables)
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.distances, two.distances)


@pytest.mark.parametrize("mode", ["live", "epoch"])
def test_a_state_is_a_copy(mode):
    table = new(mode)
    table.refresh(X) if mode == "live" else table.update(range(N), X)
    before = pickle.dumps(table.state_dict())
    state = table.state_dict()
    steps(table, 1, 3)
    assert_same_state(state, pickle.loads(before))
    other = new(mode)
    other.load_state_dict(state)
    steps(other, 1, 3)
    assert_same_state(state, pickle.loads(before))
    assert_same_state(other.state_dict(), table.state_dict())


def test_an_empty_table_has_a_state():
    for mode in ("live", "epoch"):
        table, other = new(mode), new(mode)
        other.load_state_dict(table.state_dict())
        assert_same_state(table.state_dict(), other.state_dict())


def test_arrays_may_come_back_as_those_of_another_framework(framework):
    if not framework.has_int64:
        pytest.skip("a framework without float64 cannot carry the thresholds")
    table = new("live")
    table.refresh(X)

    def carried(state):
        if isinstance(state, dict):
            return {name: carried(value) for name, value in state.items()}
        return framework.array(state) if isinstance(state, np.ndarray) else state

    other = new("live")
    other.load_state_dict(carried(table.state_dict()))
    assert_same_state(table.state_dict(), other.state_dict())


def damaged(state: dict, name: str, value: object) -> dict:
    return {key: kept for key, kept in (state | {name: value}).items() if kept is not None}


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("n", 91, ValueError, "n=91"),
        ("mode", "epoch", ValueError, "mode='epoch'"),
        ("codes", None, ValueError, "no 'codes'"),
        ("codes", np.zeros((N, 4), np.uint8), ValueError, "codes"),
        ("codes", np.zeros((N, 5), np.int8), ValueError, "uint8"),
        ("codes", "abc", TypeError, "array"),
        ("versions", np.zeros(N), ValueError, "int32"),
        ("labels", np.zeros(3, np.int64), ValueError, "labels"),
        ("quantizer", {}, ValueError, "n_bits"),
        ("quantizer", 7, TypeError, "dict"),
        ("version", "seven", TypeError, "integer"),
        ("pointer", -1, ValueError, "at least 0"),
        ("pointer", N, ValueError, "must be a row"),
        ("versions", np.full(N, -3, np.int32), ValueError, "between 0 and its version"),
    ],
)
def test_damaged_states_are_refused_and_change_nothing(name, value, error, words):
    table = new("live")
    table.refresh(X)
    before = table.state_dict()
    with pytest.raises(error, match=words):
        table.load_state_dict(damaged(before, name, value))
    assert_same_state(table.state_dict(), before)


def test_a_changed_quantizer_does_not_match_its_fingerprint():
    table = new("live")
    table.refresh(X)
    state = table.state_dict()
    state["quantizer"]["thresholds"][3] += 1e-9
    with pytest.raises(ValueError, match="fingerprint"):
        table.load_state_dict(state)
    with pytest.raises(ValueError, match="40 bits, but this table has 32"):
        hn.CodeTable(N, 32).load_state_dict(table.state_dict())
    with pytest.raises(TypeError, match="dict"):
        table.load_state_dict([])


def failing(ids):
    if ids[0] >= 40:
        raise RuntimeError("the model failed")
    return X[ids]


NAN = X.copy()
NAN[70, 2] = np.nan


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t.update([0, N], X[:2]), ValueError, r"ids\[1\] is 90"),
        (lambda t: t.update([0, -1], X[:2]), ValueError, r"ids\[1\] is -1"),
        (lambda t: t.update([0.0], X[:1]), TypeError, "ids must hold integers"),
        (lambda t: t.update([0, 1], X[:3]), ValueError, "2 ids"),
        (lambda t: t.update(range(N), NAN), ValueError, "embeddings holds NaN or infinity, first in row 70"),
        (lambda t: t.update([0], X[:1, :9]), ValueError, "9 dimensions"),
        (lambda t: t.update([0], [[1.0, 2.0]]), TypeError, "embeddings"),
        (lambda t: t.refresh(failing, batch_size=10), RuntimeError, "the model failed"),
        (lambda t: t.refresh(failing, batch_size=10, refit=True), RuntimeError, "the model failed"),
        (lambda t: t.refresh(lambda ids: X[ids[1:]]), ValueError, "76 rows for 77 ids"),
        (lambda t: t.refresh(lambda ids: None), TypeError, "source's result"),
        (lambda t: t.refresh(NAN, chunks=1), ValueError, "source holds NaN or infinity, first in row 70"),
        (lambda t: t.refresh(NAN, batch_size=8), ValueError, "source holds NaN or infinity, first in row 70"),
        (lambda t: t.refresh(X[:-1]), ValueError, "each of the 90 rows"),
        (lambda t: t.refresh(), ValueError, "source is missing"),
        (lambda t: t.refresh(X, chunks=0), ValueError, "chunks"),
        (lambda t: t.refresh(X, chunks=3, refit=True), ValueError, "chunks=1"),
        (lambda t: t.mine([0], 0), ValueError, "k must be at least 1"),
        (lambda t: t.mine([N], 1), ValueError, "ids"),
        (lambda t: t.mine([0], 1, exclude=[[N]]), ValueError, "exclude"),
        (lambda t: t.drift([0], NAN[70:71]), ValueError, "NaN"),
        (lambda t: t.refresh_due([0], X[:1], max_angle=-1), ValueError, "max_angle"),
    ],
)
def test_a_call_that_fails_says_why_and_changes_nothing(call, error, words):
    table = new("live")
    table.refresh(X)
    table.refresh(X, chunks=7)
    before = table.state_dict()
    with pytest.raises(error, match=words):
        call(table)
    assert_same_state(table.state_dict(), before)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((-1, 8), {}, ValueError, "n must be"),
        ((5.0, 8), {}, TypeError, "n must be"),
        ((5, 0), {}, ValueError, "quantizer must be at least 1"),
        ((5, "8"), {}, TypeError, "quantizer"),
        ((5, 8), {"mode": "dead"}, ValueError, "mode"),
        ((5, 8), {"labels": [1, 2]}, ValueError, "labels"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        hn.CodeTable(*arguments, **options)


def test_a_table_without_rows_works():
    table = hn.CodeTable(0, 8)
    assert table.refresh(np.empty((0, 3))).tolist() == []
    assert table.mine([], 3).indices.shape == (0, 3)
