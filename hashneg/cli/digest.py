"""Digests of what a job reads: equal contents give equal digests, wherever the files lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli.array_files import CHUNK_BYTES, chunks_of


def digest_of(arrays: Iterable[np.ndarray], advance: Callable[[int], None]) -> str:
    """A digest of dtypes, shapes and all values; ``advance(bytes)`` is told how far it is."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        for chunk in chunks_of(array):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()[:32]


def digest_of_file(path: Path) -> str:
    """A digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()[:32]


def digest_of_json(value: Mapping[str, Any]) -> str:
    """A digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
