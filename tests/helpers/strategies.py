"""hypothesis strategies: sign matrices, codes and cuts of rows into chunks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def bit_matrices(draw: st.DrawFn, max_rows: int = 8, max_bits: int = 300) -> np.ndarray:
    """Boolean (n, n_bits) with n from 0 and n_bits from 1; random, constant and sparse rows."""
    n = draw(st.integers(0, max_rows))
    n_bits = draw(st.integers(1, max_bits))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    return rng.random((n, n_bits)) < share


@st.composite
def cuts(draw: st.DrawFn, n: int) -> list[int]:
    """Boundaries 0 <= ... <= n that cut n rows into non-empty chunks."""
    inner = draw(st.lists(st.integers(1, max(n - 1, 1)), unique=True, max_size=6))
    return sorted({0, n, *(c for c in inner if c < n)})
