"""The tasks of the experiment with negatives: items without labels, two views of each, and an encoder."""

from __future__ import annotations

import ast
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import data
from hashneg.cli.demo.corpus import source_files, standard_library

_DIM = 64  # of the embeddings that the loss compares
_VOCABULARY, _WORDS, _VIEW = 2**13, 256, 64
_FEWEST_WORDS, _FEWEST_FUNCTIONS = 24, 50


class Encoder(torch.nn.Module):
    """Features, which are judged, and a head on them, whose output the loss compares and hashneg mines with."""

    def __init__(self, features: torch.nn.Module, width: int) -> None:
        super().__init__()
        self.features = features
        self.head = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, _DIM))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.head(self.features(inputs)), dim=1)


@dataclass
class Task:
    """What is learned from, and judged by.

    Attributes
    ----------
    train, test : tensor
        The items, as `view` takes them; training sees nothing else.
    train_labels, test_labels : int64 tensor
        For the judgement, and to count false negatives.
    temperature, learning_rate : float
        Chosen once, for InfoNCE.
    """

    train: torch.Tensor
    test: torch.Tensor
    train_labels: torch.Tensor
    test_labels: torch.Tensor
    temperature: float
    learning_rate: float

    def view(self, items: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """A random view of each item."""
        raise TypeError(f"{type(self).__name__} has no views")

    def encoder(self) -> Encoder:
        raise TypeError(f"{type(self).__name__} has no encoder")


class Images(Task):
    """Fashion-MNIST: crops, mirror images and other contrasts of a picture; a convolutional network."""

    def view(self, items: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        n = len(items)
        size = _uniform((n, 1), 0.5, 1.0, rng) * _uniform((n, 2), 0.9, 1.0, rng)  # of the crop, to the picture
        place = (1 - size) * _uniform((n, 2), -1.0, 1.0, rng)
        mirror = torch.where(torch.rand((n, 1), generator=rng) < 0.5, -1.0, 1.0)
        frames = torch.cat([torch.diag_embed(size * torch.cat([mirror, torch.ones_like(mirror)], 1)),
                            place[:, :, None]], 2)  # fmt: skip
        grid = torch.nn.functional.affine_grid(frames, list(items.shape), align_corners=False)
        crops = torch.nn.functional.grid_sample(items, grid, align_corners=False)
        return crops * _uniform((n, 1, 1, 1), 0.6, 1.4, rng) + _uniform((n, 1, 1, 1), -0.2, 0.2, rng)

    def encoder(self) -> Encoder:
        layers: list[torch.nn.Module] = []
        for before, channels in ((1, 32), (32, 64), (64, 128)):
            layers += [torch.nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False),
                       torch.nn.BatchNorm2d(channels), torch.nn.ReLU()]  # fmt: skip
        features = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        return Encoder(features, 128).to(memory_format=torch.channels_last)


class Functions(Task):
    """Functions of the standard library, to be told apart by module: passages without some of the words; word bags."""

    def view(self, items: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        words = (items > 0).sum(1, keepdim=True)
        length = (words * _uniform(words.shape, 0.4, 0.8, rng)).clamp(8, _VIEW).long()
        start = ((words - length + 1) * torch.rand(words.shape, generator=rng)).long()
        place = torch.arange(_VIEW)
        kept = (place < length) & (torch.rand((len(items), _VIEW), generator=rng) < 0.8)
        return items.gather(1, (start + place).clamp(max=items.shape[1] - 1)) * kept

    def encoder(self) -> Encoder:
        width = 256
        return Encoder(torch.nn.Sequential(
            torch.nn.EmbeddingBag(_VOCABULARY + 1, width, mode="mean", padding_idx=0),
            torch.nn.BatchNorm1d(width), torch.nn.ReLU(),
            torch.nn.Linear(width, width), torch.nn.BatchNorm1d(width), torch.nn.ReLU(),
        ), width)  # fmt: skip


def images(n: int) -> Images | None:
    """The first n training images and the test images of Fashion-MNIST, or None with a message."""
    train, test = data.labelled_fashion_mnist("train"), data.labelled_fashion_mnist("t10k")
    if train is None or test is None:
        return None
    (x, y), (x_test, y_test) = ([torch.from_numpy(part.copy()) for part in split] for split in (train, test))
    return Images(_scaled(x[:n]), _scaled(x_test[:n]), y[:n], y_test[:n], temperature=0.1, learning_rate=2e-3)


def functions(limit: int | None = None) -> Functions:
    """The functions of at least 24 words, of modules with at least 50 of them; every fifth is a test item.

    A module here is a file or a package of the top level.
    """
    found = list(_functions(standard_library()))
    counts = Counter(module for module, _ in found)
    found = [(module, words) for module, words in found if counts[module] >= _FEWEST_FUNCTIONS][:limit]
    names = sorted({module for module, _ in found})
    items = torch.zeros((len(found), _WORDS), dtype=torch.int64)
    for row, (_, words) in enumerate(found):
        numbers = [zlib.crc32(word.lower().encode()) % _VOCABULARY + 1 for word in words[:_WORDS]]
        items[row, : len(numbers)] = torch.tensor(numbers)
    labels = torch.tensor([names.index(module) for module, _ in found])
    test = torch.from_numpy(np.arange(len(found)) % 5 == 0)
    return Functions(items[~test], items[test], labels[~test], labels[test], temperature=0.2, learning_rate=5e-3)


def _functions(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Module and words of every function and method, in the order of files and lines, none twice."""
    seen: set[str] = set()
    for path in source_files(root):
        text = path.read_text(encoding="utf-8", errors="replace")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old escape sequences in other people's code
            try:
                tree = ast.parse(text)
            except SyntaxError:  # a file that is broken on purpose
                continue
        lines = text.splitlines()
        module = path.relative_to(root).with_suffix("").parts[0]
        for node in _outermost(tree):
            source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            words = re.findall(r"[A-Za-z][a-z]+|[A-Z]+|\d+", source)
            if len(words) >= _FEWEST_WORDS and source not in seen:
                seen.add(source)
                yield module, words


def _outermost(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions that are not inside another function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        elif isinstance(child, ast.stmt):
            yield from _outermost(child)


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels[:, None].float() / 255 - 0.29) / 0.35  # the mean and spread of all pixels


def _uniform(shape: tuple[int, ...] | torch.Size, low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)
