"""Distances between packed codes."""

from __future__ import annotations

from typing import Any

from hashneg.backends.numba_cuda import device, kernels


def distances(a: Any, b: Any, metric: str = "hamming", threads: int = 1) -> Any:
    """All distances, int32 (na, nb); "hamming" is popcount(a XOR b), "projected" popcount(a AND NOT b)."""
    with device.memory("distances", a, 16 * _words(a) + 4 * len(b), 8 * _words(b) * len(b)):
        out = device.empty((len(a), len(b)), "int32")
        device.launch(kernels.all_distances, out.size, query_words(a), row_words(b), metric == "projected", out)
    return device.result(out)


def row_words(codes: Any) -> Any:
    """Codes as words of 64 bits, (n, words), on the device."""
    words = device.empty((len(codes), _words(codes)), "uint64")
    if words.size:
        device.launch(kernels.pack_words, words.size, device.view(codes), words)
    return words


def query_words(codes: Any) -> Any:
    """The same, transposed: threads side by side have queries side by side."""
    words = row_words(codes)
    out = device.empty(words.shape[::-1], "uint64")
    device.launch(kernels.transpose, out.size, words, out)
    return out


def _words(codes: Any) -> int:
    return -(-codes.shape[1] // 8)
