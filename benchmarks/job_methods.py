"""The methods that do the whole mining job: how each builds what it searches, and searches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import hashneg as hn
from benchmarks.peers import load_faiss
from benchmarks.setup import Setup

EXACT = ("hashneg exact_topk", "faiss IndexFlatIP", "torch matmul + topk", "sentence-transformers")
_TORCH_ROWS = 1024
_SENTENCE_TRANSFORMERS_ROWS = 16384  # its default batch of queries


#: (n_bits, rerank) in the order of the overlap they reach, bits and candidates growing by turns.
_RERANKED = (
    (128, 2), (192, 2), (256, 2), (256, 3), (256, 4), (384, 4), (512, 4), (512, 6), (768, 6), (768, 8), (1024, 8),
)  # fmt: skip


@dataclass(frozen=True)
class Bits:
    """A setting of hashneg."""

    n_bits: int
    rerank: int = 0

    def __str__(self) -> str:
        return f"{self.n_bits} bits" + (f", rerank={self.rerank}" if self.rerank else "")


@dataclass(frozen=True)
class Method:
    """A way to do the job.

    Attributes
    ----------
    build : function of task and threads
        What all settings share, an index for example.
    search : function of what was built, task, setting and threads
        Gives int64 (n_anchors, k), the excluded rows dropped.
    settings : sequence
        What `search` is called with, in turn.
    """

    name: str
    build: Callable[[Any, int], Any]
    search: Callable[[Any, Any, Any, int], np.ndarray]
    settings: Sequence[Any] = ("",)


def every(setup: Setup) -> Iterator[Method]:
    """The exact search of hashneg first, then its codes, then all competitors that are installed."""
    yield Method("hashneg exact_topk", _nothing, exact)
    yield from _hashneg(setup)
    if setup.has("faiss"):
        yield from _faiss(setup)
    if setup.has("torch"):
        yield Method("torch matmul + topk", _nothing, _torch)
        if setup.has("sentence_transformers"):
            yield Method("sentence-transformers", _nothing, _sentence_transformers)
    if setup.has("hnswlib"):
        candidates = setup.choose(tiny=(16,), quick=(128,), default=(128, 256), full=(128, 192, 256, 512))
        yield Method("hnswlib M=16", _build_hnswlib, _search_hnswlib, candidates)


def _nothing(task: Any, threads: int) -> None:
    return None


def drop_own(found: np.ndarray, k: int) -> np.ndarray:
    """Of k + 1 columns, the k that are not the row's own number, in their order."""
    allowed = found != np.arange(len(found))[:, None]
    first = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, first, axis=1).astype(np.int64)


def _hashneg(setup: Setup) -> Iterator[Method]:
    """Codes alone, and reranked along the cheapest ways to more overlap, without and with a share of the blocks."""

    def mine(task: Any, n_bits: int, rerank: int, probe: float, threads: int) -> np.ndarray:
        return hn.mine_hard_negatives(
            task.anchors, task.corpus, positives=None if task.corpus is None else np.arange(len(task.anchors)),
            k=task.k, quantizer=n_bits, rerank=rerank, probe=probe, threads=threads,
        ).indices  # fmt: skip

    def in_hamming_order(built: None, task: Any, setting: Bits, threads: int) -> np.ndarray:
        return mine(task, setting.n_bits, 0, 1.0, threads)

    def reranked(probe: float) -> Callable[[Any, Any, Any, int], np.ndarray]:
        return lambda built, task, setting, threads: mine(task, setting.n_bits, setting.rerank, probe, threads)

    few, all_bits = (256, 1024), (128, 256, 512, 768, 1024, 2048)
    bits = setup.choose(tiny=(64,), quick=few, default=all_bits)
    yield Method("hashneg, Hamming order", _nothing, in_hamming_order, [Bits(n) for n in bits])
    pairs = setup.choose(tiny=((64, 4),), quick=((256, 2), (256, 4), (512, 4), (768, 6)), default=_RERANKED)
    yield Method("hashneg, reranked", _nothing, reranked(1.0), [Bits(*pair) for pair in pairs])
    for probe in setup.choose(tiny=(), quick=(0.25,), default=(0.1, 0.25), full=(0.05, 0.1, 0.25, 0.5)):
        pairs = setup.choose(
            quick=((256, 4),), default=((256, 2), (256, 4), (512, 4), (512, 8), (768, 8)), full=_RERANKED
        )
        yield Method(f"hashneg, reranked, probe={probe:g}", _nothing, reranked(probe), [Bits(*p) for p in pairs])


def exact(built: None, task: Any, setting: Any, threads: int) -> np.ndarray:
    """The float yardstick, which tells the overlap of all others."""
    own = np.arange(len(task.anchors))[:, None]
    return hn.exact_topk(task.anchors, task.database, task.k, exclude=own, threads=threads).indices


def _faiss(setup: Setup) -> Iterator[Method]:
    faiss = load_faiss()

    def flat(task: Any, threads: int) -> Any:
        return _filled(faiss.IndexFlatIP(task.database.shape[1]), task)

    def hnsw(task: Any, threads: int) -> Any:
        return _filled(faiss.IndexHNSWFlat(task.database.shape[1], 32, faiss.METRIC_INNER_PRODUCT), task)

    def inverted(task: Any, threads: int) -> Any:
        dim, n = task.database.shape[1], len(task.database)
        lists = max(1, min(int(4 * np.sqrt(n)), n // 39))  # as many as it can train well
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(task.database)
        return _filled(index, task)

    def search(index: Any, task: Any, setting: Any, threads: int) -> np.ndarray:
        if isinstance(index, faiss.IndexHNSW):
            index.hnsw.efSearch = setting
        elif isinstance(index, faiss.IndexIVF):
            index.nprobe = setting
        return drop_own(index.search(task.anchors, task.k + 1)[1], task.k)

    def lsh(built: None, task: Any, n_bits: int, threads: int) -> np.ndarray:
        index = faiss.IndexLSH(task.database.shape[1], n_bits, True, True)  # rotated, with trained thresholds
        index.train(task.database)
        return search(_filled(index, task), task, None, threads)

    yield Method("faiss IndexFlatIP", flat, search)
    probes = setup.choose(tiny=(4,), quick=(16,), default=(4, 16, 64), full=(1, 4, 16, 32, 64, 128))
    yield Method("faiss IVFFlat", inverted, search, probes)
    candidates = setup.choose(tiny=(16,), quick=(128,), default=(128, 256), full=(128, 192, 256, 512))
    yield Method("faiss HNSW32", hnsw, search, candidates)
    yield Method(
        "faiss IndexLSH",
        _nothing,
        lsh,
        setup.choose(tiny=(64,), quick=(256,), default=(256, 1024), full=(256, 512, 1024)),
    )


def _filled(index: Any, task: Any) -> Any:
    index.add(task.database)
    return index


def _torch(built: None, task: Any, setting: Any, threads: int) -> np.ndarray:
    import torch

    database = torch.from_numpy(task.database).T
    anchors = torch.from_numpy(task.anchors)
    found = np.empty((len(task.anchors), task.k), np.int64)
    for start in range(0, len(found), _TORCH_ROWS):
        scores = anchors[start : start + _TORCH_ROWS] @ database
        rows = torch.arange(len(scores))
        scores[rows, start + rows] = -torch.inf
        found[start : start + _TORCH_ROWS] = scores.topk(task.k, dim=1).indices.numpy()
    return found


def _sentence_transformers(built: None, task: Any, setting: Any, threads: int) -> np.ndarray:
    """The search in `mine_hard_negatives` of sentence-transformers, without model, texts and output data set.

    Cosines of 16,384 queries with the corpus at a time, their k + 1 best, positives found with `isin`, and a second
    `topk` without them.
    """
    import torch
    from sentence_transformers.util import cos_sim

    corpus = torch.as_tensor(task.database)
    scores, indices = [], []
    for start in range(0, len(task.anchors), _SENTENCE_TRANSFORMERS_ROWS):
        found = cos_sim(task.anchors[start : start + _SENTENCE_TRANSFORMERS_ROWS], corpus).topk(task.k + 1, dim=1)
        scores.append(found.values)
        indices.append(found.indices)
    all_scores, all_indices = torch.cat(scores), torch.cat(indices)
    positives = [torch.tensor([row]) for row in range(len(task.anchors))]
    mask = torch.stack([torch.isin(line, own) for line, own in zip(all_indices, positives, strict=True)])
    all_scores[mask] = -torch.inf
    best = all_scores.topk(task.k, dim=1).indices
    return all_indices.gather(1, best).numpy()


def _build_hnswlib(task: Any, threads: int) -> Any:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=task.database.shape[1])
    index.init_index(max_elements=len(task.database), M=16, ef_construction=200, random_seed=0)
    index.set_num_threads(threads)
    index.add_items(task.database)
    return index


def _search_hnswlib(index: Any, task: Any, candidates: int, threads: int) -> np.ndarray:
    index.set_ef(max(candidates, task.k + 1))
    return drop_own(index.knn_query(task.anchors, k=task.k + 1)[0].astype(np.int64), task.k)
