"""How fast counting can be: operations and loads of a query and a block, against what the processor does.

Every query is counted by itself here. That the queries of a tile share rows is the kernel's own merit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numba import njit

from benchmarks.setup import cpu_facts
from hashneg.backends.cpu.layout import planes_of
from hashneg.backends.cpu.vectors import AVX512_WORDS, vector_words

_GROUP = 32  # rows that pass on one carry to the planes above
_STEPS = 20_000_000
_CYCLES_A_STEP = 4  # a 64-bit multiplication takes three cycles, the addition that waits for it one


@dataclass(frozen=True)
class Limit:
    """The derived limit of one thread.

    Attributes
    ----------
    operations, loads : float
        Vector instructions of one query against one block of `lanes` codes.
    lanes : int
    ghz : float
        Measured.
    operations_a_cycle, loads_a_cycle : int
    """

    operations: float
    loads: float
    lanes: int
    ghz: float
    operations_a_cycle: int
    loads_a_cycle: int

    @property
    def cycles(self) -> float:
        return max(self.operations / self.operations_a_cycle, self.loads / self.loads_a_cycle)

    @property
    def gcmp(self) -> float:
        """Comparisons a second, in 1e9."""
        return self.ghz * self.lanes / self.cycles


def limit(queries: np.ndarray, n_bits: int) -> Limit | None:
    """The limit for these queries (packed); None for a processor whose vector units are not known here."""
    units = vector_units()
    if units is None:
        return None
    ones = np.bitwise_count(queries).sum(axis=1, dtype=np.int64)
    rows = np.minimum(ones, n_bits - ones)
    wide, planes = vector_words() == AVX512_WORDS, planes_of(n_bits)
    adder = 2 if wide else 5  # AVX-512 has an instruction for any function of three bits
    carries = 2 * (planes - _GROUP.bit_length() + 1)  # through the planes above, two operations each
    compare = planes * (1 if wide else 4)
    operations = rows * adder * (_GROUP - 1) / _GROUP + rows / _GROUP * carries + compare
    loads = rows + 2 * planes  # the rows, the start values and the bits of the threshold
    return Limit(float(operations.mean()), float(loads.mean()), 64 * vector_words(), clock(), *units)


def vector_units() -> tuple[int, int] | None:
    """Logical vector instructions and vector loads that the processor starts in a cycle, at the width we use."""
    facts, wide = cpu_facts(), vector_words() == AVX512_WORDS
    vendor, family = facts.get("vendor_id"), int(facts.get("cpu family", 0))
    if vendor == "AuthenticAMD" and family >= 26:  # Zen 5
        return (4, 2)
    if vendor == "AuthenticAMD" and family >= 23:  # Zen 1 to 4; 512 bits go in two halves
        return (2, 1) if wide else (4, 2)
    if vendor == "GenuineIntel":
        return (2, 2) if wide else (3, 2)
    return None


def clock() -> float:
    """GHz, from a chain of multiplications and additions that each wait for the last."""
    _chain(1000, 3)
    best = min(_seconds_of_chain() for _ in range(5))
    return _STEPS * _CYCLES_A_STEP / best / 1e9


def _seconds_of_chain() -> float:
    begun = time.perf_counter()
    _chain(_STEPS, 3)
    return time.perf_counter() - begun


@njit
def _chain(steps, factor):
    x = np.uint64(1)
    for i in range(steps):
        x = x * np.uint64(factor) + np.uint64(i)
    return x
