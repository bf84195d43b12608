"""Embeddings of texts, and the linear map between docstrings and code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.requirements import need

from hashneg.cli.demo import corpus, embed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maxBytes_left", "max bytes left"),
        ("self._readHTTP2Frame(x)", "self read http2 frame x"),
        ("  Zwei Größen,\n\tdrei ", "zwei größen drei"),
        ("", ""),
    ],
)
def test_identifiers_are_split_into_words(text: str, expected: str) -> None:
    assert embed.words(text) == expected


def test_correlated_finds_what_two_views_share() -> None:
    """Two noisy views of 4 hidden values in 12 dimensions each: the shared directions dominate the scores."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((2000, 4))
    x, y = (
        np.hstack([hidden, 3 * rng.standard_normal((2000, 8))]) @ np.linalg.qr(rng.standard_normal((12, 12)))[0]
        for _ in range(2)
    )
    left, right = embed.correlated(x + 5.0, y - 1.0)
    strength = np.abs((left * right).mean(axis=0))
    assert strength[:4].min() > 0.3
    assert strength[4:].max() < 0.05
    both = (left - left.mean(axis=0)).T @ (right - right.mean(axis=0)) / len(left)
    np.testing.assert_allclose(both, np.diag(np.diag(both)), atol=1e-10)  # directions agree only with their own


def test_embeddings_are_unit_vectors_that_bring_pairs_together(small_library: Path) -> None:
    need("sklearn.decomposition")
    pairs = corpus.read_pairs(small_library)
    steps: list[tuple[int, int]] = []
    texts = [pair.docstring for pair in pairs], [pair.body for pair in pairs]
    x, y = embed.embed(*texts, 3, lambda done, total: steps.append((done, total)))
    assert x.shape == y.shape == (len(pairs), embed.DIM)
    assert x.dtype == y.dtype == np.float32
    for side in (x, y):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1, atol=1e-5)
    scores = x @ y.T
    own = np.diag(scores)
    rank = (scores > own[:, None]).sum(axis=1)
    assert np.median(rank) < 0.02 * len(pairs)  # by chance it would be half of them
    assert steps == [(i, embed.STEPS) for i in range(1, embed.STEPS + 1)]
    again = embed.embed(*texts, 3)
    np.testing.assert_array_equal(again[0], x)
