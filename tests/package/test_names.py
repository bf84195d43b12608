"""The public names: all listed, all importable, all documented."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

import hashneg as hn

CONTRACT = {
    "BinaryQuantizer", "Codes", "hamming_distances", "hamming_topk", "hamming_range", "merge_topk", "overlap_at_k",
    "exact_topk", "HammingIndex", "mine_hard_negatives", "TopK", "HardNegatives", "backends",
    "CodeTable", "HardBatchSampler", "theory", "sorting", "losses", "weights",
}  # fmt: skip


def test_every_name_of_the_contract_is_listed():
    assert set(hn.__all__) >= CONTRACT
    assert len(hn.__all__) == len(set(hn.__all__))


@pytest.mark.parametrize("name", hn.__all__)
def test_every_listed_name_resolves_and_is_documented(name):
    value = getattr(hn, name)
    assert value is getattr(hn, name)
    assert name in dir(hn)
    assert inspect.getdoc(value)


def test_dir_lists_more_than_was_used(monkeypatch):
    monkeypatch.delitem(vars(hn), "hamming_topk", raising=False)
    assert "hamming_topk" in dir(hn)
    assert "__version__" in dir(hn)
    assert hn.hamming_topk.__name__ == "hamming_topk"


def test_star_import_gives_all_names():
    names: dict = {}
    exec("from hashneg import *", names)
    assert names.keys() >= set(hn.__all__)


def test_unknown_names_raise_attribute_errors():
    with pytest.raises(AttributeError, match="module 'hashneg' has no attribute 'hamming_topkk'"):
        _ = hn.hamming_topkk
    assert not hasattr(hn, "_private")


def test_names_for_type_checkers_are_the_listed_ones():
    tree = ast.parse(Path(hn.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    names = {
        alias.asname or alias.name
        for node in ast.walk(guarded)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert names == set(hn.__all__)


def test_public_signatures_keep_options_by_keyword():
    """A few of the contract's signatures, position by position."""
    parameters = inspect.signature(hn.BinaryQuantizer).parameters
    assert list(parameters) == ["n_bits", "rotation", "center", "seed"]
    assert [p.default for p in parameters.values()][1:] == ["orthogonal", "mean", 0]
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name != "n_bits")
    assert list(inspect.signature(hn.Codes.from_packbits).parameters) == ["data", "n_bits", "bitorder"]
    topk = inspect.signature(hn.hamming_topk).parameters
    assert list(topk) == [
        "queries", "database", "k", "query_ids", "query_labels", "database_labels", "exclude", "allow",
        "max_distance", "metric", "offset", "backend", "threads", "progress",
    ]  # fmt: skip
    mine = inspect.signature(hn.mine_hard_negatives).parameters
    assert {name: mine[name].default for name in ("k", "quantizer", "rerank", "similarity", "strategy", "probe")} == {
        "k": 16, "quantizer": 512, "rerank": 4, "similarity": "cosine", "strategy": "top", "probe": 1.0,
    }  # fmt: skip


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert hn.__version__ == version("hashneg")


def test_type_information_is_shipped():
    assert (Path(hn.__file__).parent / "py.typed").is_file()
    assert sys.modules["hashneg"] is hn
