"""How long mining takes on this machine, from a short run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hashneg.arrays import Embeddings
from hashneg.backends import implementation
from hashneg.hamming import HammingIndex
from hashneg.quantize import BinaryQuantizer, ConstantBitWarning
from hashneg.theory.neighbourhood import spread_rows

_ROWS = 16_384
_QUERIES = 64
_REPEATS = 3


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine, as straight lines.

    Attributes
    ----------
    encode : (of a row, of a row and bit)
    search : (of a query and row, of a query, row and bit, of a query and row of its pool)
    score : of a query and row of its pool
    """

    encode: np.ndarray
    search: np.ndarray
    score: float

    def seconds(self, n_bits: int, pool: int, queries: int, n: int, reranked: bool) -> float:
        """The time to encode all rows, search for every query and score its pool."""
        encode = (queries + n) * (self.encode @ [1, n_bits])
        search = queries * (self.search @ [n, n * n_bits, pool])
        return float(encode + search + (self.score * queries * pool if reranked else 0.0))


def calibrate(
    rows: Embeddings, n_bits: Sequence[int], pools: Sequence[int], rotation: str, backend: str, threads: int
) -> Costs:
    """Encode, search and score a sample of the rows with the fewest and the most bits, and fit lines to the times."""
    sample = rows.take(spread_rows(len(rows), _ROWS))
    n, queries = len(sample), min(_QUERIES, len(sample))
    encodes, searches = [], []
    for bits in sorted({n_bits[0], n_bits[len(n_bits) // 2], n_bits[-1]}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantBitWarning)  # mining will warn
            quantizer = BinaryQuantizer(bits, rotation=rotation).fit(sample)
        quantizer._backend = backend
        index = HammingIndex(quantizer.encode(sample))
        encodes.append(([n, n * bits], _seconds(quantizer.encode, sample)))
        asked = quantizer.encode(sample[:queries])
        for pool in {pools[0], pools[-1]}:
            taken = _seconds(index.topk, asked, pool, backend=backend, threads=threads)
            searches.append(([queries * n, queries * n * bits, queries * pool], taken))
    ids = np.random.default_rng(0).integers(0, n, (queries, pools[-1]))
    taken = _seconds(implementation("pair_scores", backend), sample[:queries], sample, ids, True, threads)
    return Costs(_line(encodes), _line(searches), taken / ids.size)


def _seconds(call: Callable[..., object], *arguments: object, **named: object) -> float:
    """The least of a few runs, after one that loads the kernels."""
    times = []
    for _ in range(_REPEATS + 1):
        begun = time.perf_counter()
        call(*arguments, **named)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def _line(measured: list[tuple[list[int], float]]) -> np.ndarray:
    """Costs of the units, none below 0, that explain the times best."""
    from scipy.optimize import nnls

    units, times = np.array([row for row, _ in measured], np.float64), np.array([value for _, value in measured])
    scale = units.max(axis=0)
    return nnls(units / scale, times)[0] / scale
