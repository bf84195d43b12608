"""mine_hard_negatives against its definition, anchor by anchor in plain Python."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from helpers.six_steps import Anchor, bits_of, check_row, similarity, unit
from hypothesis import given, settings
from hypothesis import strategies as st

import hashneg as hn

FILTERS = {
    "min_score": st.floats(-1, 0.6),
    "max_score": st.floats(-0.2, 1),
    "absolute_margin": st.floats(-0.2, 0.6),
    "relative_margin": st.floats(0, 1.5),
}


def embeddings_of(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Float rows: "whole" has few, integral values, so that dot products are exact and tie."""
    if kind == "whole":
        return rng.integers(-2, 3, (n, d)).astype(np.float32)
    x = rng.standard_normal((n, d)).astype(np.float32) + 0.5
    if kind == "clustered" and n:
        x = (x[rng.integers(0, max(1, n // 4), n)] + 0.3 * rng.standard_normal((n, d))).astype(np.float32)
    if kind == "duplicates" and n:
        x = x[rng.integers(0, n, n)]
        x[rng.random(n) < 0.1] = 0
    return x


@settings(max_examples=120)
@given(data=st.data())
def test_equals_the_definition(backend, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), "seed"))
    itself = draw(st.booleans(), "mined against itself")
    n, d = draw(st.integers(1, 25), "n"), draw(st.integers(1, 12), "d")
    m = n if itself else draw(st.integers(1, 60), "m")
    similarity_kind = draw(st.sampled_from(["cosine", "dot", "function"]), "similarity")
    kind = "whole" if similarity_kind == "dot" else draw(st.sampled_from(["random", "clustered", "duplicates"]), "kind")
    anchors = embeddings_of(kind, n, d, rng)
    corpus = anchors if itself else embeddings_of(kind, m, d, rng)
    k, rerank = draw(st.integers(1, 8), "k"), draw(st.integers(0, 8), "rerank")
    strategy = draw(st.sampled_from(["top", "random"]), "strategy")
    if similarity_kind == "function" and not rerank:
        similarity_kind = "cosine"
    filters = {name: draw(st.none() | values, name) for name, values in FILTERS.items()}
    if filters["min_score"] is not None and filters["max_score"] is not None:
        filters["max_score"] = max(filters["min_score"], filters["max_score"])
    filters["range_min"] = draw(st.integers(0, 5), "range_min")
    filters["range_max"] = draw(st.none() | st.integers(filters["range_min"] + k, 40), "range_max")

    arguments, forbidden = {}, [set() for _ in range(n)]
    if itself:
        for i in range(n):
            forbidden[i].add(i)
    elif draw(st.booleans(), "query_ids"):
        arguments["query_ids"] = rng.integers(-1, m, n)
        for i, own in enumerate(arguments["query_ids"].tolist()):
            forbidden[i].add(own)
    positives = [[] for _ in range(n)]
    width = draw(st.none() | st.integers(0, 3), "positives")
    if width is not None:
        table = rng.integers(-1, m, (n, width))
        positives = [[j for j in row if j >= 0] for row in table.tolist()]
        arguments["positives"] = table[:, 0] if width == 1 and draw(st.booleans(), "flat") else table
    else:
        filters["absolute_margin"] = filters["relative_margin"] = None
    if draw(st.booleans(), "labels"):
        own = rng.integers(-1, 3, n)
        other = own if itself else rng.integers(-1, 3, m)
        arguments |= {"labels": own} if itself else {"labels": own, "corpus_labels": other}
        for i in range(n):
            forbidden[i] |= set(np.flatnonzero(other == own[i]).tolist())
    if draw(st.booleans(), "exclude"):
        arguments["exclude"] = rng.integers(-1, m, (n, 4))
        for i in range(n):
            forbidden[i] |= set(arguments["exclude"][i].tolist())
    allow = draw(st.sampled_from([None, "shared", "each", "packed"]), "allow")
    if allow is not None:
        mask = rng.random((n, m) if allow == "each" else m) < 0.7
        arguments["allow"] = np.packbits(mask, bitorder="little") if allow == "packed" else mask
        for i in range(n):
            forbidden[i] |= set(np.flatnonzero(~(mask[i] if allow == "each" else mask)).tolist())

    table = rng.integers(-9, 10, (n, m)) / 8  # a function's scores: exact in float32, some negative, many ties
    if similarity_kind == "function":
        arguments["score_fn"] = lambda a, c: table[a, c]
    else:
        arguments["similarity"] = similarity_kind

    def score_of(i):
        if not rerank:
            return None
        if similarity_kind == "function":
            return lambda j: table[i, j]
        return lambda j: similarity(anchors[i], corpus[j], similarity_kind)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hn.ConstantBitWarning)
        quantizer = hn.BinaryQuantizer(draw(st.sampled_from([8, 33, 64]), "n_bits")).fit(unit(corpus))
    mined = hn.mine_hard_negatives(
        anchors, None if itself else corpus, k=k, rerank=rerank, strategy=strategy, quantizer=quantizer,
        threads=draw(st.integers(1, 3), "threads"), **filters, **arguments,
    )  # fmt: skip

    bits, corpus_bits = bits_of(quantizer, anchors), bits_of(quantizer, corpus)
    removed, short, lowest = Counter(), 0, []
    for i in range(n):
        anchor = Anchor(
            bits[i], corpus_bits, forbidden=forbidden[i], positives=positives[i], score=score_of(i), k=k,
            rerank=rerank, **filters,
        )  # fmt: skip
        check_row(anchor, mined.indices[i], mined.scores[i], int(mined.counts[i]), k, strategy)
        removed += anchor.removed
        short += len(anchor.left) < k
        lowest += [] if anchor.lowest is None else [anchor.lowest]
    report = mined.report
    assert {name: count for name, count in report.removed.items() if count} == dict(removed)
    assert (report.n_anchors, report.n_corpus, report.k) == (n, m, k)
    assert (report.short, report.mined) == (short, int((mined.indices >= 0).sum()))
    assert (mined.indices.dtype, mined.scores.dtype, mined.counts.dtype) == (np.int64, np.float32, np.int64)
    if lowest:
        assert report.positives.count == len(lowest)
        assert report.positives.mean == pytest.approx(np.mean(lowest), abs=1e-5)
    else:
        assert report.positives is None


@pytest.mark.parametrize("rerank", [0, 1, 4, 8])
def test_backends_agree(rerank):
    """The same candidates, scores within 1e-6, and the same order wherever scores differ by more."""
    rng = np.random.default_rng(rerank)
    x = embeddings_of("clustered", 700, 24, rng)
    quantizer = hn.BinaryQuantizer(128).fit(unit(x))
    positives = rng.integers(0, 700, (700, 2))
    arguments = {"positives": positives, "quantizer": quantizer, "rerank": rerank, "k": 10, "relative_margin": 0.01}
    plain, fast = (hn.mine_hard_negatives(x, **arguments, backend=b) for b in ("reference", "auto"))
    np.testing.assert_allclose(plain.scores, fast.scores, atol=1e-6)
    differs = plain.indices != fast.indices
    close = np.abs(np.diff(plain.scores, axis=1)) <= 1e-6
    tied = np.pad(close, ((0, 0), (0, 1))) | np.pad(close, ((0, 0), (1, 0)))
    assert not (differs & ~tied).any()
    assert differs.mean() < 0.01


def test_an_anchor_of_zeros(backend):
    """Cosine with a zero vector is 0, not nan (sentence-transformers #2944 normalised too late)."""
    x = np.array([[0, 0], [1, 0], [0, 0], [-3, 0.5]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hn.ConstantBitWarning)
        mined = hn.mine_hard_negatives(x, k=3, quantizer=16)
    assert mined.scores[0].tolist() == [0, 0, 0]
    assert mined.indices[0].tolist() == [1, 2, 3]
    assert mined.counts.tolist() == [3] * 4
    assert not np.isnan(mined.scores).any()
