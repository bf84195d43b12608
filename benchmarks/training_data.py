"""The pairs of the training experiment: docstrings with code, and the halves of images."""

from __future__ import annotations

import itertools
import sysconfig
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import labelled_fashion_mnist
from hashneg.cli.demo import corpus
from hashneg.cli.demo.embed import words

BUCKETS = 1 << 14  # of hashed words; bucket 0 is padding
_PACKAGES = ("matplotlib", "networkx", "numpy", "scipy", "sklearn", "sympy")  # those that are installed
_LENGTHS = 64, 64  # different words read of a docstring, and of code


@dataclass(frozen=True)
class Pairs:
    """Two views of things, row i of one with row i of the other; int32 words (n, length) or float32 images.

    Attributes
    ----------
    train, test : tuple of two arrays
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def digest(self) -> str:
        """A checksum that tells runs on other data apart."""
        return f"{zlib.crc32(b''.join(np.ascontiguousarray(x[::7]).tobytes() for x in (*self.train, *self.test))):08x}"


def load(task: str, n_train: int, n_test: int) -> Pairs:
    """The pairs of the task "text", "image" or "made up"; "image" needs the files of Fashion-MNIST."""
    return {"text": _text, "image": _image, "made up": _made_up}[task](n_train, n_test)


def _made_up(n_train: int, n_test: int) -> Pairs:
    """Random images, and the same with noise: to try the experiment out."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((n_train + n_test, 1, 28, 14), dtype=np.float32)
    right = left + rng.standard_normal(left.shape, dtype=np.float32)
    return Pairs((left[:n_train], right[:n_train]), (left[n_train:], right[n_train:]))


def _image(n_train: int, n_test: int) -> Pairs:
    """The left half of a Fashion-MNIST image, and its right half mirrored: (n, 1, 28, 14), centered."""
    halves = []
    for part, n in (("train", n_train), ("t10k", n_test)):
        found = labelled_fashion_mnist(part)
        if found is None:
            raise FileNotFoundError(f"the files of Fashion-MNIST, split {part}, are not here")
        images = found[0][:n, None].astype(np.float32) / 255 - 0.3
        halves.append((images[..., :14].copy(), images[..., :13:-1].copy()))
    return Pairs(*halves)


def _text(n_train: int, n_test: int) -> Pairs:
    """Documented functions of the standard library and of packages; no file has functions in both parts."""
    here = Path(sysconfig.get_path("purelib"))
    found = [(f"/{pair.where}", pair) for pair in corpus.read_pairs()]
    for package in _PACKAGES:
        if (here / package).is_dir():
            found += [(f"{package}/{pair.where}", pair) for pair in corpus.read_pairs(here / package)]
    by_file = itertools.groupby(found, key=lambda item: item[0].rpartition(":")[0])
    files = sorted(((where, [pair for _, pair in group]) for where, group in by_file),
                   key=lambda file: zlib.crc32(file[0].encode()))  # fmt: skip
    ordered = [pair for _, pairs in files for pair in pairs]  # a fixed random order of files
    n_test = min(n_test, len(ordered) // 5)
    test, rest = ordered[:n_test], ordered[n_test:]
    border = test[-1].where.rpartition(":")[0]
    rest = [pair for pair in rest if pair.where.rpartition(":")[0] != border]
    return Pairs(*(_hashed(part) for part in (rest[:n_train], test)))


def _hashed(pairs: list[corpus.Pair]) -> tuple[np.ndarray, np.ndarray]:
    docstrings, bodies = ((pair.docstring for pair in pairs), (pair.body for pair in pairs))
    return tuple(
        np.stack([_buckets(text, length) for text in texts])
        for texts, length in zip((docstrings, bodies), _LENGTHS, strict=True)
    )  # type: ignore[return-value]


def _buckets(text: str, length: int) -> np.ndarray:
    """The first different words of a text, hashed; 0 behind the end."""
    found = np.zeros(length, np.int32)
    read = list(dict.fromkeys(words(text[: 40 * length]).split()))[:length]
    found[: len(read)] = [1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in read]
    return found
