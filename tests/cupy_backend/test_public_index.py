"""HammingIndex on an (emulated) device, against the same index on the host."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from searches import assert_topk

import hashneg as hn
from hashneg.hamming.index import _last_of_each

N_BITS = 20


def codes_of(n: int, seed: int) -> hn.Codes:
    return hn.Codes.from_signs(np.random.default_rng(seed).standard_normal((n, N_BITS)))


def moved(gpu, codes: hn.Codes) -> hn.Codes:
    return hn.Codes(gpu.cp.asarray(codes.data), codes.n_bits)


def assert_alike(gpu, there: hn.HammingIndex, here: hn.HammingIndex) -> None:
    """Both find the same for queries with every kind of exclusion, and hold the same rows."""
    rng, n = np.random.default_rng(5), here.n_rows
    queries = codes_of(6, 9)
    arguments = {"query_ids": np.arange(6) - 1, "exclude": rng.integers(-1, n, (6, 3)), "allow": rng.random(n) < 0.8}
    if here.labels is not None:
        arguments["query_labels"] = np.arange(6) % 3
        np.testing.assert_array_equal(there.labels.get(), here.labels)
    elsewhere = {name: gpu.cp.asarray(value) for name, value in arguments.items()}
    found = there.topk(moved(gpu, queries), n + 2, **elsewhere, offset=3)
    assert_topk(tuple(part.get() for part in found), here.topk(queries, n + 2, **arguments, offset=3))
    assert (len(there), there.n_rows) == (len(here), n)
    np.testing.assert_array_equal(there.codes().data.get(), here.codes().data)


@pytest.mark.parametrize("has_labels", [True, False])
def test_every_operation_gives_what_it_gives_on_the_host(gpu, has_labels):
    codes, labels = codes_of(40, 0), np.arange(40) % 4 if has_labels else None
    here = hn.HammingIndex(codes, labels)
    there = hn.HammingIndex(moved(gpu, codes), None if labels is None else gpu.cp.asarray(labels))
    assert_alike(gpu, there, here)
    ids, fresh = np.array([7, 3, 7, 39, 3, 3]), codes_of(6, 1)
    new = np.arange(6) % 3 if has_labels else None
    here.update(ids, fresh, new)
    there.update(gpu.cp.asarray(ids), moved(gpu, fresh), None if new is None else gpu.cp.asarray(new))
    assert_alike(gpu, there, here)
    for index in (here, there):
        index.remove([5, 3, 5])
    assert_alike(gpu, there, here)
    added = there.add(moved(gpu, codes_of(9, 2)), None if new is None else gpu.cp.asarray(np.arange(9)))
    np.testing.assert_array_equal(added.get(), here.add(codes_of(9, 2), None if new is None else np.arange(9)))
    there.update(range(3), moved(gpu, codes_of(3, 4)))
    here.update(range(3), codes_of(3, 4))
    assert_alike(gpu, there, here)
    np.testing.assert_array_equal(there.codes(gpu.cp.asarray(ids)).data.get(), here.codes(ids).data)


def test_it_is_laid_out_once_and_searched_often(gpu, monkeypatch):
    codes = moved(gpu, codes_of(40, 0))
    index, slicings = hn.HammingIndex(codes), []
    of = gpu.layout.TensorLayout.of.__func__
    monkeypatch.setattr(gpu.layout.TensorLayout, "of", classmethod(lambda *args: slicings.append(1) or of(*args)))
    for _ in range(3):
        index.topk(codes, 1)
    assert slicings == []
    for row in range(4):
        index.update([row], codes[row])
    index.remove([9])
    for _ in range(3):
        index.topk(codes, 1)
    assert slicings == [1]


def test_an_index_that_another_backend_prepared(gpu):
    codes = codes_of(40, 0)
    index = hn.HammingIndex(moved(gpu, codes))
    index._database.layout = object()
    assert_alike(gpu, index, hn.HammingIndex(codes))


def test_files_pickles_and_moves(gpu, tmp_path):
    codes = codes_of(30, 0)
    here, there = hn.HammingIndex(codes, np.arange(30)), None
    here.remove([4, 8])
    there = here.moved_to(gpu.cp.empty(0))
    assert_alike(gpu, there, here)
    there.remove([5])
    assert len(here) == 28, "a copy"
    here.remove([5])
    there.save(tmp_path / "index.safetensors")
    loaded = hn.HammingIndex.load(tmp_path / "index.safetensors")
    assert isinstance(loaded.codes().data, np.ndarray)
    assert_alike(gpu, loaded.moved_to(there.codes().data), here)
    back = there.moved_to(np.empty(0))
    np.testing.assert_array_equal(back.codes().data, here.codes().data)
    assert_alike(gpu, pickle.loads(pickle.dumps(there)), here)


def test_a_clustered_index_on_the_device(gpu):
    """At every probe it finds what it finds on the host, also of what is left when rows were removed."""
    codes = codes_of(1600, 0)
    here = hn.HammingIndex(codes, order="clustered")
    here.update(range(9), codes_of(9, 1))
    there = here.moved_to(gpu.cp.empty(0))
    assert_alike(gpu, there, here)
    for index in (here, there):
        index.remove([3, 50, 70])
    queries = codes_of(9, 3)
    for probe in (0.1, 0.5, 1.0):
        found = there.topk(moved(gpu, queries), 7, probe=probe)
        assert_topk(tuple(part.get() for part in found), here.topk(queries, 7, probe=probe))
    for change in (lambda: there.update([1], moved(gpu, codes[:1])), lambda: there.add(moved(gpu, codes))):
        with pytest.raises(ValueError, match="a clustered index on a device keeps its codes"):
            change()
    assert_alike(gpu, there.moved_to(np.empty(0)).moved_to(gpu.cp.empty(0)), here)


def test_errors_leave_the_index_as_it_was(gpu):
    codes = codes_of(12, 0)
    here, there = hn.HammingIndex(codes), hn.HammingIndex(moved(gpu, codes))
    for index, other in ((here, moved(gpu, codes)), (there, codes)):
        for call, arguments in ((index.topk, (other, 1)), (index.add, (other,)), (index.update, (range(12), other))):
            with pytest.raises(RuntimeError, match=r"but the index lies on .* see HammingIndex\.moved_to"):
                call(*arguments)
    with pytest.raises(RuntimeError, match=r"ids is a numpy array .* share one device"):
        there.remove(np.array([1]))
    with pytest.raises(ValueError, match=r"ids\[1\] is 12; ids must be rows 0 to 11"):
        there.update(gpu.cp.asarray(np.array([1, 12])), moved(gpu, codes[:2]))
    with pytest.raises(ValueError, match="codes are clustered on the host; make the index there"):
        hn.HammingIndex(moved(gpu, codes), order="clustered")
    for somewhere in ("cuda", None):
        with pytest.raises(TypeError, match="where arrays lie is told by an array"):
            here.moved_to(somewhere)
    assert_alike(gpu, there, here)


@pytest.mark.parametrize("m", [0, 1, 50])
def test_the_last_of_repeated_ids(gpu, m):
    ids = np.random.default_rng(m).integers(0, 9, m)
    last = {int(row): place for place, row in enumerate(ids)}
    for found in (_last_of_each(ids), tuple(part.get() for part in _last_of_each(gpu.cp.asarray(ids)))):
        assert dict(zip(*(part.tolist() for part in found), strict=True)) == last
