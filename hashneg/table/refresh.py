"""Rebuilding codes: from embeddings that were kept, or from fresh ones, read range by range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from hashneg import arrays
from hashneg.arrays import Embeddings
from hashneg.codes import Codes
from hashneg.device_embeddings import AnyEmbeddings, DeviceEmbeddings, check_finite, embeddings
from hashneg.progress import Meter
from hashneg.quantize import BinaryQuantizer

Embed = Callable[[np.ndarray], Any]


def from_source(
    source: Source, cuts: list[tuple[int, int]], quantizer: BinaryQuantizer, refit: bool, meter: Meter
) -> tuple[Codes, BinaryQuantizer]:
    """Codes of the ranges `cuts` of a source, with `refit` by thresholds fitted to them."""
    codes, held = [], []
    for start, stop in cuts:
        rows = source.read(start, stop)
        if refit:
            held.append(rows)
        else:
            codes.append(quantizer.encode(rows))
        meter.advance(stop - start)
    if refit:
        quantizer = fitted_anew(quantizer, held)
        codes = [quantizer.encode(rows) for rows in held]
    return joined(codes), quantizer


def unfitted(quantizer: BinaryQuantizer) -> BinaryQuantizer:
    """A quantizer with the same settings that has seen no rows."""
    return BinaryQuantizer(quantizer.n_bits, rotation=quantizer.rotation, center=quantizer.center, seed=quantizer.seed)


def fitted_anew(quantizer: BinaryQuantizer, blocks: Iterable[Any]) -> BinaryQuantizer:
    """A quantizer with the same settings, fitted to these blocks of rows alone."""
    fresh = unfitted(quantizer)
    for block in blocks:
        fresh.partial_fit(block)
    return fresh


def joined(parts: list[Codes]) -> Codes:
    return Codes(np.concatenate([part.host for part in parts]), parts[0].n_bits)


def ranges(first: int, count: int, n: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut the `count` <= n rows from `first` on, modulo n, into ranges of at most `step` neighbouring rows."""
    for low, high in ((first, min(first + count, n)), (0, max(0, first + count - n))):
        for start in range(low, high, step):
            yield start, min(start + step, high)


class Source:
    """The embeddings of all n rows: an (n, d) array, or a function from int64 ids (m,) to an (m, d) array.

    `place` is an array that lies where they have to.
    """

    def __init__(self, given: Any, n: int, place: Any) -> None:
        self._embed: Embed | None = None
        self._matrix: AnyEmbeddings | None = None
        self._place = place
        if callable(given) and arrays.framework_of(given) is None:
            self._embed = given
            return
        self._matrix = embeddings(given, "source", place)
        if len(self._matrix) != n:
            raise ValueError(f"source must have a row for each of the {n} rows, got shape {self._matrix.shape}")
        check_finite(self._matrix)

    def read(self, start: int, stop: int) -> AnyEmbeddings:
        """Rows `start` to `stop`."""
        if isinstance(self._matrix, DeviceEmbeddings):
            return self._matrix.part(start, stop)
        if self._matrix is not None:
            return Embeddings(self._matrix.block(start, stop), "source")
        assert self._embed is not None
        rows = embeddings(self._embed(np.arange(start, stop)), "source's result", self._place)
        if len(rows) != stop - start:
            raise ValueError(f"source returned {len(rows)} rows for {stop - start} ids")
        return rows
