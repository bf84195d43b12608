"""The towers of the training experiment and one training run's steps, in PyTorch on one CPU thread."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

import hashneg as hn
from benchmarks.training_data import BUCKETS, Pairs

_DIM = 256
_TEXT_STD = 0.02  # of the entries of a word's vector at first
_CHUNK = 1000  # rows embedded at a time


def tower(task: str, pairs: Pairs) -> nn.Module:
    """Both views go through the same weights, as in the paper."""
    if task == "text":
        return TextTower(pairs)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 4, _DIM),
    )  # fmt: skip


class TextTower(nn.Module):
    """The weighted sum of the vectors of a text's words. The weights are learned too, from log(1 + n / df) on.

    Parameters
    ----------
    pairs : Pairs
        From whose n texts for training the document frequencies df are taken.
    """

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(BUCKETS, _DIM, mode="sum", padding_idx=0)
        nn.init.normal_(self.bag.weight, std=_TEXT_STD)
        held = np.concatenate([np.unique(text) for view in pairs.train for text in view])
        rarity = np.log1p(sum(map(len, pairs.train)) / np.maximum(np.bincount(held, minlength=BUCKETS), 1))
        self.log_weight = nn.Embedding.from_pretrained(torch.from_numpy(np.log(rarity)).float()[:, None], freeze=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bag(x, per_sample_weights=torch.exp(self.log_weight(x).squeeze(-1)) * (x > 0))


class Model:
    """A tower with its optimizer and schedule.

    Parameters
    ----------
    task : "text" or "image"
    pairs : Pairs
    steps : int
        Of the whole run; the learning rate falls to 0 along a cosine.
    rate : float
        Learning rate at the start.
    hardest : float
        Share of the in-batch negatives of an anchor that the loss sees, the hardest of them.
    """

    def __init__(self, task: str, pairs: Pairs, steps: int, seed: int, rate: float, hardest: float = 1.0) -> None:
        torch.manual_seed(seed)
        self.pairs, self.hardest = pairs, hardest
        self.tower = tower(task, pairs)
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))
        self.optimizer = torch.optim.AdamW(
            [*self.tower.parameters(), self.log_scale], lr=rate, weight_decay=0.01, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def step(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Learn from a batch; the unit embeddings of its two views, float32 (m, d), as the step computed them."""
        left, right = (nn.functional.normalize(self.tower(torch.from_numpy(view[ids]))) for view in self.pairs.train)
        weights = None if self.hardest == 1.0 else hardest_negatives(left.detach() @ right.detach().T, self.hardest)
        loss = hn.losses.info_nce(
            left, right, temperature=torch.exp(-self.log_scale), symmetric=True, label_smoothing=0.1, weights=weights
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return left.detach().numpy(), right.detach().numpy()

    def encode(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Unit embeddings of both views of some training pairs, by the model of now."""
        left, right = (self.embed(view[rows]) for view in self.pairs.train)
        return left, right

    def embed(self, view: np.ndarray) -> np.ndarray:
        """Unit embeddings, float32 (n, d), by the model of now."""
        with torch.inference_mode():
            chunks = [torch.from_numpy(view[i : i + _CHUNK]) for i in range(0, len(view), _CHUNK)]
            return np.concatenate([nn.functional.normalize(self.tower(chunk)).numpy() for chunk in chunks])


def hardest_negatives(cosines: torch.Tensor, share: float) -> torch.Tensor:
    """1 at the hardest negatives of each row and on the diagonal, else 0: weights for the loss."""
    n = len(cosines)
    negatives = cosines.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    hardest = negatives.topk(max(1, round(share * (n - 1))), dim=1).indices
    return torch.eye(n).scatter(1, hardest, 1.0)


def scores(left: np.ndarray, right: np.ndarray, ks: Iterable[int] = (1, 5)) -> dict[str, float]:
    """R@k and MRR@10 of finding row i of `right` for row i of `left` among all rows of `right`."""
    ranks = []
    for start in range(0, len(left), _CHUNK):
        cosines = left[start : start + _CHUNK] @ right.T
        own = cosines[np.arange(len(cosines)), start + np.arange(len(cosines))]
        ranks.append((cosines >= own[:, None]).sum(axis=1))  # ties count against
    rank = np.concatenate(ranks)
    found = {f"R@{k}": float((rank <= k).mean()) for k in ks}
    return {**found, "MRR@10": float(np.where(rank <= 10, 1 / rank, 0).mean())}
