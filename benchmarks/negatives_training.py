"""How the experiment with negatives trains and judges: the losses, the loop, a linear probe and k-NN."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import hashneg as hn
from benchmarks.negatives_tasks import Encoder, Task
from hashneg.adapters.torch import MiningLoop

N_BITS, NEIGHBOURS, HARDNESS = 256, 128, 1.0
_VOTERS, _VOTE_TEMPERATURE = 20, 0.07
_PROBE_DECAY, _PROBE_STEPS = 1e-4, 100

Loss = Callable[[torch.Tensor, torch.Tensor, float, torch.Generator], torch.Tensor]


def _info_nce(anchors: torch.Tensor, positives: torch.Tensor, t: float, rng: torch.Generator) -> torch.Tensor:
    return hn.losses.info_nce(anchors, positives, temperature=t)


def _hcl(anchors: torch.Tensor, positives: torch.Tensor, t: float, rng: torch.Generator) -> torch.Tensor:
    pairs = hn.losses.similarities(anchors, positives)
    w = hn.weights.hcl(pairs.cosine, temperature=t, beta=1.0, mask=pairs.mask, positive=pairs.positive, tau_plus=0.1)
    return hn.losses.info_nce(anchors, positives, temperature=t, weights=w)


def _soft_info_nce(anchors: torch.Tensor, positives: torch.Tensor, t: float, rng: torch.Generator) -> torch.Tensor:
    pairs = hn.losses.similarities(anchors.detach(), positives.detach())
    w = hn.weights.soft_info_nce(pairs.cosine, alpha=0.9, temperature=t, mask=pairs.mask)
    return hn.losses.info_nce(anchors, positives, temperature=t, weights=w)


def _mochi(anchors: torch.Tensor, positives: torch.Tensor, t: float, rng: torch.Generator) -> torch.Tensor:
    with torch.no_grad():
        pairs = hn.losses.similarities(anchors, positives)
        hardest = pairs.cosine.masked_fill(~pairs.mask, -2.0).topk(min(64, len(anchors) - 1), dim=1).indices
        numbers = torch.rand((len(anchors), 32, 3), generator=rng)
        mixed = hn.losses.mochi(anchors, positives[hardest], n_pairs=16, n_with_anchor=16, uniform=numbers)
    return hn.losses.info_nce(anchors, positives, mixed, temperature=t)


def _unremix(
    anchors: torch.Tensor, positives: torch.Tensor, t: float, rng: torch.Generator, **switched_off: float
) -> torch.Tensor:
    w = hn.weights.unremix(anchors.detach(), positives.detach(), temperature=t, **switched_off)
    return hn.losses.info_nce(anchors, positives, temperature=t, weights=w)


LOSSES: dict[str, Loss] = {
    "InfoNCE": _info_nce,
    "HCL": _hcl,
    "Soft-InfoNCE": _soft_info_nce,
    "MoCHi": _mochi,
    "UnReMix": _unremix,
    "UnReMix without similarity": partial(_unremix, similarity=0.0),
    "UnReMix without uncertainty": partial(_unremix, uncertainty=0.0),
    "UnReMix without representativeness": partial(_unremix, representativeness=0.0),
}


class Trainer:
    """An encoder that is trained step by step."""

    def __init__(self, task: Task, method: str, seed: int, steps: int) -> None:
        torch.manual_seed(seed)
        self.task, self.loss_of = task, LOSSES[method]
        self.rng = torch.Generator().manual_seed(seed)
        self.model = task.encoder()
        self.optimizer = torch.optim.Adam(self.model.parameters(), task.learning_rate, weight_decay=1e-6)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Train on two views of these items; the embeddings of the first."""
        items = self.task.train[ids]
        views = torch.cat([self.task.view(items, self.rng), self.task.view(items, self.rng)])
        a, p = self.model(views).chunk(2)
        t = self.task.temperature
        loss = (self.loss_of(a, p, t, self.rng) + self.loss_of(p, a, t, self.rng)) / 2
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return a.detach()


def train(
    task: Task, method: str, mined: bool, seed: int, steps: int, batch_size: int
) -> tuple[Encoder, dict[str, float]]:
    """Train an encoder on two views of each item; no label is looked at, except to count.

    Parameters
    ----------
    method : a key of `LOSSES`
    mined : bool
        Compose batches of anchors, their nearest items of the whole set and random items; the neighbours are mined
        after every epoch with the embeddings of its steps. Else all items are random, as in the first epoch.

    Returns
    -------
    model, and {"train_seconds", "mine_seconds" of the processor, "same_label": the share of pairs in a batch that
    have the same label}
    """
    trainer, n = Trainer(task, method, seed, steps), len(task.train)
    table = hn.CodeTable(n, N_BITS, mode="epoch")
    sampler = hn.HardBatchSampler(np.full((n, 1), -1), batch_size, hardness=HARDNESS if mined else 0.0, seed=seed)
    loop = MiningLoop(table, sampler, k=min(NEIGHBOURS, n - 1))
    epoch, done, mining, same = 0, 0, 0.0, []
    start = time.process_time()
    while done < steps:
        loop.start_epoch(epoch)
        for ids in torch.tensor(sampler.batches[: steps - done]):
            embeddings = trainer.step(ids)
            if mined:
                table.update(ids, embeddings)
            labels = task.train_labels[ids]
            same.append(float((labels[:, None] == labels).sum() - len(ids)) / (len(ids) * (len(ids) - 1)))
        done += len(sampler)
        if mined and done < steps:
            before = time.process_time()
            loop.end_epoch()
            mining += time.process_time() - before
        epoch += 1
    seconds = time.process_time() - start
    return trainer.model, {"train_seconds": seconds, "mine_seconds": mining, "same_label": float(np.mean(same))}


def step_seconds(task: Task, batch_size: int, turns: int) -> dict[str, float]:
    """Median processor time of a training step by every method, which take turns."""
    rng = np.random.default_rng(0)
    trainers = {method: Trainer(task, method, seed=0, steps=turns) for method in LOSSES}
    seconds: dict[str, list[float]] = {method: [] for method in LOSSES}
    for _ in range(turns):
        ids = torch.from_numpy(rng.choice(len(task.train), batch_size, replace=False))
        for method, trainer in trainers.items():
            start = time.process_time()
            trainer.step(ids)
            seconds[method].append(time.process_time() - start)
    return {method: float(np.median(times)) for method, times in seconds.items()}


def judge(model: Encoder, task: Task) -> dict[str, float]:
    """Accuracy on the test items of a linear probe of the features, and of k-NN by their cosine."""
    x, x_test = (_features(model, items) for items in (task.train, task.test))
    return {
        "linear": _linear_probe(x, task.train_labels, x_test, task.test_labels),
        "knn": _nearest_neighbours(x, task.train_labels, x_test, task.test_labels),
    }


@torch.no_grad()
def _features(model: Encoder, items: torch.Tensor) -> torch.Tensor:
    model.eval()
    return torch.cat([model.features(part) for part in items.split(1000)])


def _linear_probe(x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, y_test: torch.Tensor) -> float:
    """Logistic regression on features scaled to mean 0 and variance 1."""
    mean, spread = x.mean(0), x.std(0) + 1e-6
    x, x_test = (x - mean) / spread, (x_test - mean) / spread
    classes = int(max(y.max(), y_test.max())) + 1
    weight = torch.zeros((x.shape[1], classes), requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_PROBE_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight + bias, y) + _PROBE_DECAY / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return float(((x_test @ weight + bias).argmax(1) == y_test).float().mean())


def _nearest_neighbours(x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, y_test: torch.Tensor) -> float:
    """A vote of the 20 nearest training items, each with the weight e^(cosine/0.07)."""
    found: Any = hn.exact_topk(x_test, x, min(_VOTERS, len(x)))
    votes = torch.zeros((len(x_test), int(max(y.max(), y_test.max())) + 1))
    votes.scatter_add_(1, y[found.indices], (found.scores / _VOTE_TEMPERATURE).exp())
    return float((votes.argmax(1) == y_test).float().mean())
