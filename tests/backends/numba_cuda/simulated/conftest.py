"""These checks run in a process of their own, in which NUMBA_ENABLE_CUDASIM=1 was set before numba was imported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hashneg.backends.numba_cuda import device, search
from hashneg.hamming import clustering


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small problems into several tiles of queries, shares of rows and blocks of a cluster; fill new memory."""
    empty = device.empty

    def poisoned(shape: tuple[int, ...], dtype: Any) -> Any:
        memory = empty(shape, dtype)
        if memory.size:
            memory.copy_to_device(np.full(memory.nbytes, 0xA5, np.uint8).view(dtype).reshape(shape))
        return memory

    monkeypatch.setattr(device, "empty", poisoned)
    monkeypatch.setenv("HASHNEG_BACKEND", "numba_cuda")
    monkeypatch.setattr(search, "_TILE_QUERIES", 3)
    monkeypatch.setattr(search, "_SHARE_ROWS", 11)
    monkeypatch.setattr(clustering, "BLOCK_ROWS", 16)
