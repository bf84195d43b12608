"""Saving and loading an index."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.search_problems import assert_same, make_bits, packed

import hashneg as hn
from hashneg import files


def saved(path, order="clustered", labelled=True):
    rng = np.random.default_rng(0)
    bits = make_bits("clustered", 0, 1300, 37, rng)[1]
    index = hn.HammingIndex(packed(bits), rng.integers(0, 4, 1300) if labelled else None, order=order)
    index.remove([5, 600])
    index.update([7], packed(bits[9:10]))
    index.save(path)
    return index


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("order", ["given", "clustered"])
def test_loads_what_was_saved(backend, tmp_path, order, labelled):
    index = saved(tmp_path / "index", order, labelled)
    again = hn.HammingIndex.load(tmp_path / "index")
    assert (len(again), again.n_rows, again.n_bits) == (1298, 1300, 37)
    queries = again.codes(range(50))
    own = {"query_labels": np.arange(50) % 4} if labelled else {}
    for probe in (1.0, 0.2):
        assert_same(again.topk(queries, 12, probe=probe, **own), index.topk(queries, 12, probe=probe, **own))
    assert 5 not in again.topk(queries, 1300, **own).indices


@pytest.mark.parametrize("order", ["given", "clustered"])
def test_a_loaded_index_can_be_changed(backend, tmp_path, order):
    """Arrays read from a file may be read-only views of it."""
    index = saved(tmp_path / "index", order)
    again = hn.HammingIndex.load(tmp_path / "index")
    for each in (index, again):
        each.update([5, 1], each.codes([2, 3]), [9, 9])
        each.remove([8])
        each.add(each.codes([4]), [1])
    queries = index.codes(range(40))
    own = np.arange(40) % 4
    assert_same(again.topk(queries, 12, query_labels=own), index.topk(queries, 12, query_labels=own))


def test_a_saved_file_is_replaced_whole(tmp_path):
    saved(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    saved(tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("kept", [0, 5, 100, 2000])
def test_a_truncated_file_is_refused(tmp_path, kept):
    saved(tmp_path / "index")
    (tmp_path / "index").write_bytes((tmp_path / "index").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"path .*index.* is not a whole safetensors file"):
        hn.HammingIndex.load(tmp_path / "index")


def test_a_file_of_another_kind_is_refused(tmp_path):
    packed(np.zeros((3, 8), bool)).save(tmp_path / "codes")
    with pytest.raises(ValueError, match="holds 'codes', not 'index'"):
        hn.HammingIndex.load(tmp_path / "codes")
    with pytest.raises(FileNotFoundError, match=r"path .*absent"):
        hn.HammingIndex.load(tmp_path / "absent")


@pytest.mark.parametrize(
    "name", ["codes", "alive", "labels", "order", "centers", "radii", "row twice", "small radius", "padding", "width"]
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, name):
    """A wrong radius would make the search skip neighbours, a wrong order read beyond the codes."""
    saved(tmp_path / "index")
    tensors, about = files.load_tensors(tmp_path / "index", "index")
    tensors = {key: value.copy() for key, value in tensors.items()}
    if name == "row twice":
        tensors["order"][0] = tensors["order"][1]
    elif name == "small radius":
        tensors["radii"][0] = 0
    elif name == "padding":
        tensors["codes"][3, -1] |= 0x80
    elif name == "width":
        about["n_bits"] = 90
    else:
        tensors[name] = tensors[name][:-1]
    about.pop("kind")
    files.save_tensors(tmp_path / "index", "index", tensors, about)
    with pytest.raises(ValueError, match=r"path .* does not hold a sound index"):
        hn.HammingIndex.load(tmp_path / "index")
