"""The backend argument of mining reaches every step."""

from __future__ import annotations

import numpy as np

import hashneg as hn
from hashneg import backends


def test_the_backend_also_fits_and_encodes(backend, monkeypatch):
    used = set()
    monkeypatch.delenv("HASHNEG_BACKEND", raising=False)
    table = backends.implementation
    for module in ("hashneg.quantize.quantizer", "hashneg.hamming.search", "hashneg.mining.scoring"):
        monkeypatch.setattr(f"{module}.implementation", lambda op, name: (used.add((op, name)), table(op, name))[1])
    x = np.random.default_rng(0).standard_normal((50, 8), dtype=np.float32)
    hn.mine_hard_negatives(x, k=2, quantizer=16, backend=backend)
    steps = {op for op, _ in used}
    assert {"add_columns", "encode", "topk", "pair_scores"} <= steps
    # thresholds are always computed by the oracle, so that every backend has the same ones
    assert {name for op, name in used if op != "project"} == {backend}


def test_rows_whose_squares_overflow_are_normalised():
    rows = np.array([[3e200, 4e200], [3e-200, -4e-200], [0.0, 0.0], [3.0, 4.0]])
    found = hn.exact_topk(rows, rows, 4, similarity="cosine")
    np.testing.assert_allclose(found.scores[0], [1.0, 1.0, 0.0, -0.28], atol=1e-12)
