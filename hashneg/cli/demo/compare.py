"""What the demo measures: overlap with exact cosine, time, memory, and the cost of the first call."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import hashneg as hn

BITS = (128, 256, 512, 1024)
DEPTHS = (16, 128)
RERANK = 4
K = 16
MINING_BITS = 512
MARGIN = 0.05
_SMALL = 256  # rows of the calls that only compile
_REPEATS = 3


@dataclass(frozen=True)
class Overlap:
    """The mean share of the k exact neighbours that was found with codes of n_bits."""

    n_bits: int
    k: int
    rerank: bool
    overlap: float


@dataclass(frozen=True)
class FirstCall:
    """Seconds of the first call in this process, and of the same call again when all kernels are there."""

    what: str
    first: float
    again: float

    @property
    def compiling(self) -> float:
        """Seconds that went into compiling the kernels, or loading them from Numba's cache."""
        return max(self.first - self.again, 0.0)


@dataclass(frozen=True)
class Cost:
    """Time of a warm call (the median of three), memory at its peak, and what is searched.

    Attributes
    ----------
    peak : int
        Bytes allocated above what was there before, as tracemalloc sees them (arrays, not BLAS's own buffers).
    searched : int
        Bytes of the codes or embeddings that one query is compared with.
    """

    what: str
    seconds: float
    peak: int
    searched: int


class Comparison:
    """Anchors, their corpus (row i is the positive of anchor i), and the measurements on them.

    Parameters
    ----------
    anchors, corpus : float32 (n, d)
    seed : int
        Of the quantizers.
    threads : int
        For hashneg and for exact cosine alike; the caller limits BLAS to the same number.
    """

    def __init__(self, anchors: np.ndarray, corpus: np.ndarray, seed: int, threads: int) -> None:
        self.anchors, self.corpus, self.seed, self.threads = anchors, corpus, seed, threads
        self.positives = np.arange(len(corpus))

    def first_calls(self) -> Iterator[FirstCall]:
        """Call everything on a few rows, twice; must run before anything else here."""
        small = Comparison(self.anchors[:_SMALL], self.corpus[:_SMALL], self.seed, self.threads)

        def hashneg() -> None:
            for n_bits in BITS:
                small.search(small.quantizer(n_bits), K)
                small.mine(n_bits)

        calls = (
            (f"hashneg, codes of {', '.join(map(str, BITS))} bits", hashneg),
            ("exact cosine", lambda: small.exact(K)),
        )
        for what, call in calls:
            yield FirstCall(what, _seconds(call), _seconds(call))

    def overlaps(self) -> Iterator[Overlap]:
        """Overlap with exact cosine for every number of bits and depth, without and with rerank."""
        truth = self.exact(max(DEPTHS)).indices
        for n_bits in BITS:
            quantizer = self.quantizer(n_bits)
            found = self.search(quantizer, max(DEPTHS)).indices
            for k in DEPTHS:
                reranked = self.mine(quantizer, k).indices
                for rerank, indices in ((False, found), (True, reranked)):
                    overlap = hn.overlap_at_k(np.ascontiguousarray(indices[:, :k]), truth[:, :k])
                    yield Overlap(n_bits, k, rerank, float(overlap.mean(dtype=np.float64)))

    def costs(self) -> Iterator[Cost]:
        """Time and memory of hashneg and of exact cosine for the same k and exclusions."""
        quantizer = self.quantizer(MINING_BITS)
        queries, codes = quantizer.encode(self.anchors), quantizer.encode(self.corpus)
        size = codes.data.nbytes
        jobs: list[tuple[str, Callable[[], Any], int]] = [
            (f"hashneg, {MINING_BITS} bits: mine_hard_negatives, all steps", lambda: self.mine(MINING_BITS), size),
            (
                f"hashneg, {MINING_BITS} bits: hamming_topk of ready codes",
                lambda: hn.hamming_topk(queries, codes, K, exclude=self.positives[:, None], threads=self.threads),
                size,
            ),
            ("exact cosine: exact_topk", lambda: self.exact(K), self.corpus.nbytes),
        ]
        for what, call, searched in jobs:
            seconds = sorted(_seconds(call) for _ in range(_REPEATS))[_REPEATS // 2]
            yield Cost(what, seconds, _peak(call), searched)

    @property
    def positive_scores(self) -> np.ndarray:
        """Cosine of every anchor with its positive, float32 (n,)."""
        return np.einsum("ij,ij->i", self.anchors, self.corpus)

    def quantizer(self, n_bits: int) -> hn.BinaryQuantizer:
        return hn.BinaryQuantizer(n_bits, seed=self.seed).fit(self.corpus)

    def search(self, quantizer: hn.BinaryQuantizer, k: int) -> hn.TopK:
        """Nearest codes, the positive excluded."""
        queries, codes = quantizer.encode(self.anchors), quantizer.encode(self.corpus)
        return hn.hamming_topk(queries, codes, k, exclude=self.positives[:, None], threads=self.threads)

    def mine(self, quantizer: int | hn.BinaryQuantizer, k: int = K, **filters: Any) -> hn.HardNegatives:
        """Nearest codes reordered by cosine, the positive excluded."""
        return hn.mine_hard_negatives(
            self.anchors, self.corpus, positives=self.positives, k=k, quantizer=quantizer, rerank=RERANK,
            seed=self.seed, threads=self.threads, **filters,
        )  # fmt: skip

    def exact(self, k: int) -> hn.ScoredTopK:
        """Nearest embeddings, the positive excluded."""
        return hn.exact_topk(self.anchors, self.corpus, k, exclude=self.positives[:, None], threads=self.threads)


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _peak(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
