"""CodeTable, mode="live": equal to a plain search of the newest codes, whatever the history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import hashneg as hn

DIM = 12


def some_rows(rng: np.random.Generator, m: int) -> np.ndarray:
    """Few distinct directions, so that codes tie."""
    return rng.integers(-1, 2, (m, DIM)).astype(np.float32)


def fitted(n_bits: int = 21) -> hn.BinaryQuantizer:
    return hn.BinaryQuantizer(n_bits).fit(np.random.default_rng(0).standard_normal((200, DIM)))


class Machine(RuleBasedStateMachine):
    """Beside every table the newest embedding of each row, in a dict."""

    @initialize(n=st.sampled_from([1, 5, 70, 513]), with_labels=st.booleans(), seed=st.integers(0, 2**32 - 1))
    def start(self, n, with_labels, seed):
        self.rng, self.n, self.quantizer = np.random.default_rng(seed), n, fitted()
        self.labels = self.rng.integers(-1, 3, n) if with_labels else None
        self.table = hn.CodeTable(n, self.quantizer, labels=self.labels)
        self.newest, self.stamps, self.pointer = {}, {}, 0

    @rule(m=st.integers(0, 40))
    def update(self, m):
        ids, rows = self.rng.integers(0, self.n, m), some_rows(self.rng, m)
        self.table.update(ids, rows)
        self.remember(ids, rows)

    @rule(chunks=st.integers(1, 7), batch_size=st.sampled_from([1, 7, 1024]), from_function=st.booleans())
    def refresh(self, chunks, batch_size, from_function):
        every = some_rows(self.rng, self.n)
        done = self.table.refresh(
            (lambda ids: every[ids]) if from_function else every, chunks=chunks, batch_size=batch_size
        )
        wanted = [(self.pointer + i) % self.n for i in range(-(-self.n // chunks))]
        assert done.tolist() == wanted
        self.pointer = (self.pointer + len(wanted)) % self.n
        self.remember(done, every[done])

    @rule()
    def refit(self):
        self.newest = dict(enumerate(some_rows(self.rng, self.n)))
        every = np.array(list(self.newest.values()))
        self.quantizer = hn.BinaryQuantizer(21).fit(every)
        self.table.refresh(every, refit=True)
        self.remember(range(self.n), every)

    @rule(k=st.integers(1, 9), limit=st.none() | st.integers(0, 12))
    def mine(self, k, limit):
        ids = self.rng.integers(0, self.n, 6)
        mask, lists = self.rng.random(self.n) < 0.8, self.rng.integers(-1, self.n, (6, 3))
        found = self.table.mine(ids, k, allow=mask, exclude=lists, max_distance=limit)
        codes = self.codes()
        bits = np.unpackbits(codes, axis=1)
        for i, row in enumerate(ids):
            pairs = []
            for j in self.newest if row in self.newest else []:
                same = self.labels is not None and self.labels[j] == self.labels[row]
                distance = int((bits[row] != bits[j]).sum())
                if (
                    j != row
                    and not same
                    and mask[j]
                    and j not in lists[i]
                    and distance <= (99 if limit is None else limit)
                ):
                    pairs.append((distance, j))
            pairs = (sorted(pairs) + [(2**31 - 1, -1)] * k)[:k]
            assert list(zip(found.distances[i].tolist(), found.indices[i].tolist(), strict=True)) == pairs

    @rule()
    def save_and_load(self):
        other = hn.CodeTable(self.n, 21, labels=self.labels)
        other.load_state_dict(self.table.state_dict())
        self.table = other

    def remember(self, ids, rows):
        for row, values in zip(ids, rows, strict=True):
            self.newest[int(row)], self.stamps[int(row)] = values, self.table.version

    def codes(self):
        codes = np.zeros((self.n, 3), np.uint8)
        for row, values in self.newest.items():
            codes[row] = self.quantizer.encode(values[None]).data[0]
        return codes

    @invariant()
    def codes_and_versions_are_those_remembered(self):
        np.testing.assert_array_equal(self.table.codes().data, self.codes())
        wanted = [self.stamps.get(i, 0) for i in range(self.n)]
        assert self.table.versions().tolist() == wanted
        assert self.table.ages().tolist() == [self.table.version - v if v else -1 for v in wanted]


def test_any_history_equals_a_plain_search(backend):
    run_state_machine_as_test(Machine, settings=settings(max_examples=12, stateful_step_count=12, deadline=None))


def test_the_last_of_repeated_ids_wins(backend):
    table = hn.CodeTable(10, fitted())
    rows = np.random.default_rng(1).standard_normal((6, DIM))
    table.update([4, 2, 4, 0, 4, 2], rows)
    np.testing.assert_array_equal(table.codes([0, 2, 4]).data, fitted().encode(rows[[3, 5, 4]]).data)


def test_row_zero_is_a_row_like_any_other(backend):
    table = hn.CodeTable(3, fitted())
    table.update([0, 1], np.ones((2, DIM)))
    assert table.mine([1], 2).indices.tolist() == [[0, -1]]
    assert table.mine([0], 2).indices.tolist() == [[1, -1]]


def test_rows_never_updated_are_never_returned_and_find_nothing(backend):
    table = hn.CodeTable(600, fitted())
    table.update([7, 599], np.ones((2, DIM)))
    found = table.mine(np.arange(600), 3)
    assert set(np.unique(found.indices)) == {-1, 7, 599}
    assert (found.indices[[7, 599], 0] == [599, 7]).all()
    unknown = np.delete(np.arange(600), [7, 599])
    assert (found.indices[unknown] == -1).all()
    assert (found.distances[unknown] == 2**31 - 1).all()


def test_the_table_keeps_its_own_quantizer():
    quantizer = fitted()
    table = hn.CodeTable(5, quantizer)
    x = np.random.default_rng(2).standard_normal((5, DIM))
    before = quantizer.encode(x)
    quantizer.fit(x + 100)
    table.update(range(5), x)
    np.testing.assert_array_equal(table.codes().data, before.data)
    table.quantizer.fit(x + 100)
    assert table.quantizer.fingerprint == fitted().fingerprint


def test_an_unfitted_quantizer_is_fitted_by_the_first_refresh():
    x = np.random.default_rng(3).standard_normal((50, DIM))
    table = hn.CodeTable(50, 32)
    with pytest.raises(hn.NotFittedError, match="refresh"):
        table.update([0], x[:1])
    with pytest.raises(ValueError, match="chunks=1"):
        table.refresh(x, chunks=2)
    table.refresh(x)
    np.testing.assert_array_equal(table.codes().data, hn.BinaryQuantizer(32).fit(x).encode(x).data)


def arrays_of(thing, seen: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """All NumPy arrays reachable from an object, by the address of their memory."""
    if isinstance(thing, np.ndarray):
        while isinstance(thing.base, np.ndarray):
            thing = thing.base
        seen[id(thing)] = thing
    elif hasattr(thing, "__dict__"):
        for value in vars(thing).values():
            arrays_of(value, seen)
    elif isinstance(thing, (list, tuple, dict)):
        for value in thing.values() if isinstance(thing, dict) else thing:
            arrays_of(value, seen)
    return seen


@pytest.mark.parametrize("n_bits", [64, 256, 1000, 1024])
def test_memory_is_two_codes_and_sixteen_bytes_a_row(n_bits):
    n = 8192
    x = np.random.default_rng(4).standard_normal((n, 16), dtype=np.float32)
    table = hn.CodeTable(n, hn.BinaryQuantizer(n_bits).fit(x), labels=np.arange(n) // 4)
    for start in range(0, n, 1024):
        table.update(np.arange(start, start + 1024), x[start : start + 1024])
    table.mine(range(64), 16)
    apart = arrays_of(table._quantizer, {})
    held = [array for key, array in arrays_of(table, {}).items() if key not in apart]
    assert len(held) >= 4  # codes, layout, labels, versions
    total = sum(array.nbytes for array in held)
    assert total / n <= -(-n_bits // 8) + n_bits / 8 + 16 + 64 / n  # 64: the layout starts at a cache line


def test_the_memory_check_sees_what_is_held():
    table = hn.CodeTable(512, 64, mode="epoch")
    table.update([0], np.ones((1, 100)))
    assert sum(array.nbytes for array in arrays_of(table, {}).values()) >= 512 * 200


def test_only_groups_that_were_written_to_are_laid_out_anew(monkeypatch):
    """And once only, when the table is next searched: an update costs O(batch)."""
    from hashneg.backends.cpu import layout

    table = hn.CodeTable(100_000, fitted())
    written = []
    table.mine(np.arange(10), 1)
    fill = layout._fill
    monkeypatch.setattr(
        layout, "_fill", lambda blocks, groups, *others: (written.append(len(groups)), fill(blocks, groups, *others))
    )
    for _ in range(3):
        table.update(np.arange(0, 100_000, 1000), np.ones((100, DIM)))
    assert written == []
    for _ in range(2):
        table.mine(np.arange(10), 1)
    assert written == [100]


def test_codes_computed_elsewhere_count_like_embeddings(backend):
    x = np.random.default_rng(6).standard_normal((40, DIM))
    tables = [hn.CodeTable(40, fitted()) for _ in range(2)]
    ids = np.random.default_rng(7).integers(0, 40, 60)
    tables[0].update(ids, x[ids])
    tables[1].update_codes(ids, fitted().encode(x[ids]))
    np.testing.assert_array_equal(tables[0].codes().data, tables[1].codes().data)
    np.testing.assert_array_equal(tables[0].versions(), tables[1].versions())
    with pytest.raises(ValueError, match="n_bits"):
        tables[1].update_codes([0], hn.Codes(np.zeros((1, 2), np.uint8), 16))
    with pytest.raises(ValueError, match="1 rows for 2 ids"):
        tables[1].update_codes([0, 1], fitted().encode(x[:1]))
    assert tables[1].version == 1
    with pytest.raises(ValueError, match="update"):
        hn.CodeTable(40, 21, mode="epoch").update_codes([0], fitted().encode(x[:1]))


def test_queries_that_are_no_rows_find_rows_with_codes(backend):
    """As for the other tower of a model: rows without a code stay out here too."""
    x, q = np.random.default_rng(8).standard_normal((2, 40, DIM))
    table = hn.CodeTable(40, fitted(), labels=np.arange(40) % 7)
    some = np.arange(0, 40, 3)
    table.update(some, x[some])
    queries = fitted().encode(q)
    found = table.topk(queries, 5, query_labels=np.arange(40) % 5)
    allow = np.isin(np.arange(40), some)
    wanted = hn.hamming_topk(
        queries, fitted().encode(x), 5, query_labels=np.arange(40) % 5, database_labels=np.arange(40) % 7, allow=allow
    )
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.distances, wanted.distances)


def test_a_learned_quantizer_is_refused_where_it_would_be_fitted():
    """It failed at the end of the first epoch, in refresh()."""
    learned = hn.BinaryQuantizer.from_projection(np.ones((8, 4)))
    with pytest.raises(ValueError, match="use mode='live'"):
        hn.CodeTable(10, learned, mode="epoch")
    assert hn.CodeTable(10, learned).n_bits == 8
