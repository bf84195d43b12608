"""The data of the benchmarks: random codes, a generator of clustered embeddings, and two real sets."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import hashneg as hn
from benchmarks.setup import say

BLOCK = 1 << 16
DIM = 256
_DEPTH, _BRANCHES, _SHRINK = 6, 8, 0.75
_TABLE = 4096  # vectors of a level, shared by its clusters through a hash
_FASHION_MNIST_AT = "/usr/share/datasets/fashion-mnist"  # where Debian's package puts it


def random_codes(n: int, n_bits: int, seed: int) -> hn.Codes:
    """Codes whose bits are independent and fair: the worst case, since nothing can be skipped."""
    data = np.random.default_rng(seed).integers(0, 256, (n, (n_bits + 7) // 8), dtype=np.uint8)
    if n_bits % 8:
        data[:, -1] &= (1 << n_bits % 8) - 1
    return hn.Codes.from_packbits(data, n_bits)


def nested_clusters(start: int, stop: int, dim: int = DIM, seed: int = 0) -> Iterator[np.ndarray]:
    """Rows start..stop-1 of the set "nested-clusters", float32, a block at a time.

    Every row falls into one of 8 clusters, within it into one of 8 smaller ones, and so on, six deep; each level adds
    a Gaussian vector 0.75 times as long as that of the level above, and the row itself one more. So there is
    structure at every distance and any n, as in embeddings of text and images. A row depends on its number and the
    seed alone.
    """
    levels = np.random.default_rng([seed, 0]).standard_normal((_DEPTH, _TABLE, dim), dtype=np.float32)
    for number in range(start // BLOCK, -(-stop // BLOCK)):
        rng = np.random.default_rng([seed, 1, number])
        path = np.zeros(BLOCK, np.uint64)
        rows = np.zeros((BLOCK, dim), np.float32)
        for level in range(_DEPTH):
            path = path * np.uint64(_BRANCHES) + rng.integers(0, _BRANCHES, BLOCK, dtype=np.uint64) + np.uint64(1)
            entry = (path * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - 12)  # 12 bits choose among 4096
            rows += np.float32(_SHRINK**level) * levels[level, entry.astype(np.intp)]
        rows += np.float32(_SHRINK**_DEPTH) * rng.standard_normal((BLOCK, dim), dtype=np.float32)
        first = number * BLOCK
        yield rows[max(start - first, 0) : stop - first]


def clustered_codes(n: int, n_bits: int, n_queries: int = 0, seed: int = 0) -> tuple[hn.Codes, hn.Codes]:
    """Codes of the first n rows of "nested-clusters", and of the n_queries rows behind them."""
    quantizer = hn.BinaryQuantizer(n_bits, seed=seed)
    parts = []
    for block in nested_clusters(0, n + n_queries, seed=seed):
        if not parts:
            quantizer.fit(block)
        parts.append(quantizer.encode(block).data)
    whole = np.concatenate(parts)
    return hn.Codes.from_packbits(whole[:n], n_bits), hn.Codes.from_packbits(whole[n:], n_bits)


def demo_corpus(limit: int | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Embeddings of docstrings and of their code, as in ``hashneg demo``: row i of one goes with row i of the other."""
    from hashneg.cli.demo import corpus, embed

    try:
        pairs = corpus.read_pairs()
        anchors, bodies = embed.embed([pair.docstring for pair in pairs], [pair.body for pair in pairs])
    except (corpus.NoSourcesError, ModuleNotFoundError) as error:
        say(f"skipped: the demo's corpus ({error})")
        return None
    rows = corpus.spread(len(pairs), limit)
    return anchors[rows], bodies[rows]


def fashion_mnist(limit: int | None = None) -> np.ndarray | None:
    """The pixels of the training images, float32 (60000, 784) of length 1, or None with a message."""
    pixels = _idx_file("train-images-idx3-ubyte", header=16)
    return None if pixels is None else unit(pixels.reshape(-1, 784)[:limit].astype(np.float32))


def labelled_fashion_mnist(split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Images uint8 (n, 28, 28) and classes int64 (n,) of the split "train" or "t10k", or None with a message."""
    pixels = _idx_file(f"{split}-images-idx3-ubyte", header=16)
    classes = None if pixels is None else _idx_file(f"{split}-labels-idx1-ubyte", header=8)
    if pixels is None or classes is None:
        return None
    return pixels.reshape(-1, 28, 28), classes.astype(np.int64)


def _idx_file(name: str, header: int) -> np.ndarray | None:
    """The bytes behind the header of one of Fashion-MNIST's files, or None with a message."""
    folders = [Path(folder) for folder in (os.environ.get("HASHNEG_DATA"), _FASHION_MNIST_AT) if folder]
    places = [place for folder in folders for place in (folder, folder / "fashion-mnist")]
    for path in (place / f"{name}{ending}" for place in places for ending in (".gz", "")):
        if path.exists():
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            return np.frombuffer(raw, np.uint8, offset=header)
    say(
        "skipped: Fashion-MNIST is not here (Debian: apt install dataset-fashion-mnist; elsewhere: name its folder in "
        "HASHNEG_DATA)"
    )
    return None


def unit(x: np.ndarray) -> np.ndarray:
    """The rows of x divided by their lengths; rows of zeros stay."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
