"""The images, their augmented views and the encoder of the hashing experiment, trained without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks import data
from hashneg.losses import nt_xent

DIM = 128
BATCH = 256
_TEMPERATURE = 0.3
_LEARNING_RATE = 2e-3
_VIEWS = 4  # of every image, for the heads
_CHUNK = 1000  # images embedded at a time


@dataclass(frozen=True)
class Images:
    """A database that is also trained on, without its labels, and queries.

    Attributes
    ----------
    database, queries : tensor, uint8 (n, 1, 28, 28)
    database_labels, query_labels : int64 (n,)
        For the judgement alone.
    """

    database: torch.Tensor
    queries: torch.Tensor
    database_labels: np.ndarray
    query_labels: np.ndarray


def fashion_mnist(limit: int | None = None, validation: bool = False) -> Images | None:
    """The standard split, or None with a message; `validation` splits the training images 50,000 to 10,000 instead."""
    parts = data.labelled_fashion_mnist("train"), data.labelled_fashion_mnist("t10k")
    if parts[0] is None or parts[1] is None:
        return None
    (pixels, labels), (queries, query_labels) = parts
    if validation:
        queries, query_labels = pixels[50_000:], labels[50_000:]
        pixels, labels = pixels[:50_000], labels[:50_000]
    x, y = (torch.from_numpy(images[:limit].copy())[:, None] for images in (pixels, queries))
    return Images(x, y, labels[:limit], query_labels[:limit])


def augmented(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Views, float32 (n, 1, 28, 28): crops of 80 % of the area or more, mirrored or not, other brightness, noise."""
    n = len(images)
    zoom = _uniform((n,), 0.8, 1.0, rng).sqrt()
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    place = (1 - zoom)[:, None] * _uniform((n, 2), -1.0, 1.0, rng)
    frames = torch.cat([torch.diag_embed(torch.stack([zoom * mirror, zoom], 1)), place[:, :, None]], 2)
    grid = nn.functional.affine_grid(frames, list(images.shape), align_corners=False)
    crops = nn.functional.grid_sample(images.float() / 255, grid, align_corners=False)
    brightness, gamma = (_uniform((n, 1, 1, 1), low, high, rng) for low, high in ((0.8, 1.2), (0.82, 1.22)))
    views = (crops * brightness).clamp(1e-4, 1) ** gamma
    return views + 0.05 * torch.randn(views.shape, generator=rng)


class Encoder(nn.Module):
    """Three convolutions and a linear layer; embeddings of length 1, (n, 128)."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, size in ((1, 1, 5), (1, 2, 3), (2, 4, 3)):
            layers += [nn.Conv2d(inputs * channels if layers else 1, outputs * channels, size, 2, size // 2)]
            layers += [nn.BatchNorm2d(outputs * channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 16 * channels, DIM))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.layers(images), dim=1)

    @torch.no_grad()
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings in evaluation mode, where images of a batch do not depend on each other."""
        return self.eval()(images)


def pretrained(images: torch.Tensor, epochs: int, seed: int) -> Encoder:
    """An encoder trained with NT-Xent of two views."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder()
    rng = torch.Generator().manual_seed(seed)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        views = torch.cat([augmented(images[rows], rng), augmented(images[rows], rng)])
        return nt_xent(*encoder(views).chunk(2), temperature=_TEMPERATURE)

    minimize(loss, encoder, len(images), epochs, _LEARNING_RATE, rng)
    return encoder


def minimize(
    loss: Callable[[torch.Tensor], torch.Tensor], model: nn.Module, n: int, epochs: int, learning_rate: float,
    rng: torch.Generator,
) -> None:  # fmt: skip
    """Adam on a loss of batches of rows; the learning rate falls to 0 as a cosine."""
    size = min(BATCH, n)
    batches = [
        rows for _ in range(epochs) for rows in torch.randperm(n, generator=rng).split(size) if len(rows) == size
    ]
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    model.train()
    for rows in batches:
        value = loss(rows)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()


@dataclass(frozen=True)
class Embedded:
    """What a frozen encoder makes of the images.

    Attributes
    ----------
    database, queries : tensor, float32 (n, 128)
    views : tensor, float32 (number, n, 128)
        Of augmented views of the database.
    """

    database: torch.Tensor
    queries: torch.Tensor
    views: torch.Tensor


def embedded(encoder: Encoder, images: Images, seed: int) -> Embedded:
    """All embeddings that the methods need, computed once."""
    rng = torch.Generator().manual_seed(seed)
    views = [
        torch.cat([encoder.embed(augmented(part, rng)) for part in images.database.split(_CHUNK)])
        for _ in range(_VIEWS)
    ]
    database, queries = (
        torch.cat([encoder.embed(part.float() / 255) for part in x.split(_CHUNK)])
        for x in (images.database, images.queries)
    )
    return Embedded(database, queries, torch.stack(views))


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)
