"""Bad arguments of mine_hard_negatives: the error names the argument."""

from __future__ import annotations

import numpy as np
import pytest

import hashneg as hn

X = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
C = np.random.default_rng(1).standard_normal((30, 8)).astype(np.float32)


def with_bad(value, row, x=X):
    x = x.copy()
    x[row, 3] = value
    return x


class OnCuda:
    """What a CUDA array looks like through DLPack."""

    shape, dtype, device = (20, 8), "float32", "cuda:0"

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise AssertionError("the memory of another device must not be asked for")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": True}, TypeError, "k must be an integer, got the bool"),
        ({"k": 2.0}, TypeError, "k must be an integer"),
        ({"rerank": -1}, ValueError, "rerank must be at least 0"),
        ({"quantizer": 0}, ValueError, "quantizer must be at least 1"),
        ({"quantizer": "itq"}, TypeError, "quantizer must be a number of bits or a BinaryQuantizer"),
        ({"similarity": "euclid"}, ValueError, "similarity must be one of"),
        ({"strategy": "best"}, ValueError, "strategy must be one of"),
        ({"backend": "gpu"}, ValueError, "backend must be one of"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": None}, TypeError, "seed must be an integer"),
        ({"threads": 0}, ValueError, "threads must be at least 1"),
        ({"probe": 2}, ValueError, "probe must be at most 1"),
        ({"range_min": -1}, ValueError, "range_min must be at least 0"),
        ({"range_max": 0}, ValueError, "range_max must be at least 1"),
        ({"min_score": "high"}, TypeError, "min_score must be a number"),
        ({"max_score": float("nan")}, ValueError, "max_score must not be NaN"),
        ({"min_score": 0.5, "max_score": 0.4}, ValueError, "min_score=0.5 is above max_score=0.4"),
        ({"absolute_margin": 0.1}, ValueError, "absolute_margin .* needs positives"),
        ({"relative_margin": 0.1}, ValueError, "relative_margin .* needs positives"),
        ({"relative_margin": -0.1, "positives": [0] * 20}, ValueError, "relative_margin must be at least 0"),
        ({"positives": np.zeros(20)}, TypeError, "positives must hold integers"),
        ({"positives": X}, TypeError, "positives must hold integers"),
        ({"positives": [0] * 19}, ValueError, r"positives must have shape \(20,\)"),
        ({"positives": np.zeros((2, 20), int)}, ValueError, r"positives must have shape \(20, m\)"),
        ({"positives": [20] * 20}, ValueError, r"positives\[0\] is 20; ids must be rows 0 to 19"),
        ({"positives": [-2] * 20}, ValueError, r"positives\[0\] is -2"),
        ({"labels": [1] * 19}, ValueError, r"labels must have shape \(20,\)"),
        ({"labels": np.array(["a"] * 20)}, TypeError, "labels must hold integers.*numpy.unique"),
        ({"corpus_labels": [1] * 20}, ValueError, "corpus_labels goes with corpus"),
        ({"query_ids": [1] * 20}, ValueError, "query_ids goes with corpus"),
        ({"corpus": C, "labels": [1] * 20}, ValueError, "corpus_labels is missing"),
        ({"corpus": C, "corpus_labels": [1] * 30}, ValueError, "labels is missing"),
        ({"corpus": C, "labels": [1] * 20, "corpus_labels": [1] * 20}, ValueError, r"corpus_labels .* \(30,\)"),
        ({"corpus": C, "query_ids": [30] * 20}, ValueError, r"query_ids\[0\] is 30"),
        ({"exclude": [1] * 20}, ValueError, r"exclude must have shape \(20, m\)"),
        ({"exclude": [[25]] * 20}, ValueError, r"exclude\[\(0, 0\)\] is 25"),
        ({"exclude": np.zeros((20, 1))}, TypeError, "exclude must hold integers"),
        ({"allow": np.ones(19, bool)}, ValueError, r"allow as bool must have shape \(20,\)"),
        ({"allow": np.ones(20)}, TypeError, "allow must be bool, or uint8"),
        ({"score_fn": 3}, TypeError, "score_fn must be a function"),
        ({"score_fn": max, "rerank": 0}, ValueError, "score_fn .* needs rerank >= 1"),
        ({"score_fn": lambda a, c: a[:1]}, ValueError, "score_fn must return one float for each of the"),
        ({"score_fn": lambda a, c: a * np.nan}, ValueError, "score_fn returned NaN, first for anchor 0 and corpus row"),
        ({"score_fn": lambda a, c: a.tolist()}, TypeError, "score_fn's result must be an array"),
        ({"corpus": C[:, :7]}, ValueError, "anchors have 8 dimensions, corpus has 7"),
        ({"corpus": C.astype(int)}, TypeError, "corpus must be one of float16"),
        ({"corpus": C[0]}, ValueError, r"corpus must have shape \(n, d\)"),
        ({"corpus": C.tolist()}, TypeError, "corpus must be an array"),
        ({"corpus": with_bad(np.nan, 17, C)}, ValueError, "corpus holds NaN or infinity, first in row 17"),
        ({"corpus": with_bad(-np.inf, 29, C)}, ValueError, "corpus holds NaN or infinity, first in row 29"),
        ({"corpus": C, "anchors": with_bad(np.inf, 11)}, ValueError, "anchors holds NaN or infinity, first in row 11"),
        ({"anchors": with_bad(np.nan, 0)}, ValueError, "anchors holds NaN or infinity, first in row 0"),
        ({"anchors": OnCuda()}, RuntimeError, "anchors is a .*cuda:0"),
        ({"corpus": OnCuda()}, RuntimeError, "corpus is a .*cuda:0"),
        ({"labels": OnCuda()}, RuntimeError, "labels is a .*cuda:0"),
        ({"quantizer": hn.BinaryQuantizer(8).fit(X[:, :4])}, ValueError, "quantizer was fitted on 4 dimensions"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        hn.mine_hard_negatives(**({"anchors": X, "k": 2} | arguments))


def test_nothing_is_computed_before_the_arguments_are_checked(monkeypatch):
    """Hours of encoding that end in "range too narrow" help nobody."""

    def never(*_args, **_kwargs):
        raise AssertionError("the quantizer ran before the arguments were checked")

    monkeypatch.setattr(hn.BinaryQuantizer, "fit", never)
    monkeypatch.setattr(hn.BinaryQuantizer, "partial_fit", never)
    monkeypatch.setattr(hn.BinaryQuantizer, "encode", never)
    for arguments in (
        {"exclude": [[99]] * 20},
        {"range_max": 1},
        {"positives": [99] * 20},
        {"allow": np.ones(3, bool)},
    ):
        with pytest.raises(ValueError):
            hn.mine_hard_negatives(X, k=2, **arguments)


def test_a_call_that_fails_leaves_the_quantizer_as_it_was():
    quantizer = hn.BinaryQuantizer(16)
    with pytest.raises(ValueError, match="row 19"):
        hn.mine_hard_negatives(with_bad(np.nan, 19), quantizer=quantizer, k=2)
    assert quantizer.dim is None
    assert quantizer.n_seen == 0
