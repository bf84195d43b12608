"""Embeddings of docstrings and code: hashed character n-grams, TF-IDF, and a linear map learned on the pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

DIM = 256
STEPS = 3
_FEATURES = 1 << 14
_NGRAMS = (2, 4)
_RIDGE = 0.1  # share of the mean variance added to every direction before whitening
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[\W_]+")


def words(text: str) -> str:
    """Lower-case words, identifiers split at underscores and capitals: ``maxBytes_left`` is "max bytes left"."""
    return _NO_WORD.sub(" ", _HUMP.sub(" ", text)).strip().lower()


def embed(
    anchors: Sequence[str],
    positives: Sequence[str],
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of paired texts in one space.

    Parameters
    ----------
    anchors, positives : sequence of str
        Text i of one goes with text i of the other.
    seed : int
        Of the randomised decomposition.
    progress : function, optional
        Called as ``progress(done, total)`` after each step.

    Returns
    -------
    anchors, positives : float32 (n, 256)
        Rows of length 1.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=_NGRAMS, n_features=_FEATURES, preprocessor=words, norm=None,
        alternate_sign=False, dtype=np.float32,
    )  # fmt: skip
    counts = vectorizer.transform([*anchors, *positives])
    progress(1, STEPS)
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    svd = TruncatedSVD(DIM, n_iter=1, random_state=seed)
    dense = svd.fit_transform(weighted).astype(np.float64)
    progress(2, STEPS)
    x, y = correlated(dense[: len(anchors)], dense[len(anchors) :])
    progress(3, STEPS)
    return _unit(x), _unit(y)


def correlated(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the pairs in the directions in which they agree: ridge canonical correlation analysis.

    Each direction is weighted with the square root of its correlation, so that the dot product of two rows is
    x' Cxx^-1 Cxy Cyy^-1 y.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    white_x, white_y = _whitening(x), _whitening(y)
    left, correlation, right = np.linalg.svd(white_x @ (x.T @ y / len(x)) @ white_y)
    weight = np.sqrt(correlation)
    return x @ (white_x @ left * weight), y @ (white_y @ right.T * weight)


def _whitening(x: np.ndarray) -> np.ndarray:
    """The inverse square root of the covariance with a ridge."""
    covariance = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(covariance + _RIDGE * np.trace(covariance) / len(covariance) * np.eye(x.shape[1]))
    return (vectors / np.sqrt(values)) @ vectors.T


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0).astype(np.float32)
