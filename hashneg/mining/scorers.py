"""The ways a job scores candidates. Each gives, for a slice of the anchors, a function of corpus rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from hashneg import arrays, checks, theory
from hashneg.arrays import Embeddings
from hashneg.codes import Codes
from hashneg.device_embeddings import DeviceEmbeddings
from hashneg.mining import device_scoring, scoring
from hashneg.quantize import BinaryQuantizer
from hashneg.theory import values

#: corpus rows, int64 (m, p), padded with -1, to scores, float32 (m, p), NaN where there is no row
Score = Callable[[np.ndarray], np.ndarray]
_RABITQ = "rabitq"
_RABITQ_FACTOR = 4


class Rerank(NamedTuple):
    """What `rerank` says: how many times k candidates are scored, 0 for Hamming order, and from what.

    Attributes
    ----------
    factor : int
    from_codes : bool
        Whether by RaBitQ's estimate from codes, and not from the corpus embeddings.
    """

    factor: int
    from_codes: bool = False

    @classmethod
    def checked(cls, rerank: Any) -> Rerank:
        """From the argument: an integer, "rabitq", or "rabitq:8" for another factor."""
        if not isinstance(rerank, str):
            return cls(checks.integer(rerank, "rerank", minimum=0))
        name, _, factor = rerank.partition(":")
        if name != _RABITQ or (rerank != _RABITQ and not (factor.isascii() and factor.isdecimal())):
            raise ValueError(f'rerank must be an integer, "rabitq", or "rabitq:FACTOR", got {rerank!r}')
        return cls(checks.integer(int(factor or _RABITQ_FACTOR), "rerank's factor", minimum=1), from_codes=True)


class Scorer(Protocol):
    """Scores pairs of an anchor and a corpus row."""

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        """The function that scores the anchors `start` to `stop`, whose codes are given."""
        ...


class CodeScorer:
    """cos(pi H / n_bits)."""

    def __init__(self, corpus: Codes) -> None:
        self._corpus = corpus

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        there = arrays.is_on_device(codes.data)
        scores = device_scoring.code_scores if there else scoring.code_scores
        return lambda ids: scores(codes.host, self._corpus.host, ids, codes.n_bits)


class ExactScorer:
    """Cosine or dot product of the embeddings."""

    def __init__(self, anchors: Embeddings, corpus: Embeddings, similarity: str, backend: str, threads: int) -> None:
        self._anchors, self._corpus = anchors, corpus
        self._arguments = (similarity, backend, threads)
        self._dtype = np.result_type(anchors.dtype, corpus.dtype)

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        rows = self._anchors.block(start, stop).astype(self._dtype, copy=False)
        return lambda ids: scoring.exact_scores(rows, self._corpus, ids, *self._arguments)


class DeviceScorer:
    """Cosine or dot product of the embeddings, on a device."""

    def __init__(self, anchors: DeviceEmbeddings, corpus: DeviceEmbeddings, similarity: str, backend: str) -> None:
        self._anchors, self._corpus = anchors, corpus
        self._arguments = (similarity, backend)

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        rows = self._anchors.part(start, stop)
        return lambda ids: device_scoring.exact_scores(rows, self._corpus, ids, *self._arguments)


class FunctionScorer:
    """What the caller's function says."""

    def __init__(self, function: scoring.ScoreFunction) -> None:
        self._function = function

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        return lambda ids: scoring.function_scores(self._function, np.arange(start, stop), ids)


class RabitqScorer:
    """RaBitQ's estimate of the cosine, from the anchors' embeddings and two numbers beside each corpus code."""

    def __init__(
        self,
        anchors: Embeddings,
        corpus: Embeddings,
        codes: Codes,
        quantizer: BinaryQuantizer,
        backend: str,
        threads: int,
    ) -> None:
        self._anchors, self._codes, self._quantizer = anchors, codes, quantizer
        self._rows = theory.rabitq_rows(quantizer, corpus)
        self._backend, self._threads = backend, threads

    @staticmethod
    def check(quantizer: BinaryQuantizer, similarity: str) -> None:
        """ValueError where the estimate does not exist."""
        if similarity != "cosine":
            raise ValueError(f"rerank='rabitq' estimates the cosine, but similarity is {similarity!r}")
        if quantizer.rotation not in values.ROTATIONS or quantizer.center == "median":
            raise ValueError(
                "rerank='rabitq' needs a quantizer with rotation 'orthogonal', 'gaussian' or 'hadamard' and center "
                f"'mean' or None, got rotation={quantizer.rotation!r}, center={quantizer.center!r}"
            )

    def slice(self, start: int, stop: int, codes: Codes) -> Score:
        rows = self._anchors.block(start, stop)
        return lambda ids: theory.rabitq_scores(
            self._quantizer, self._rows, self._codes, rows, ids, backend=self._backend, threads=self._threads
        )[0]
