"""`scoring` on a CUDA device: no step waits for the device, since none has a shape that depends on values."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashneg import cuda_arrays
from hashneg.backends import implementation
from hashneg.backends.request import NO_INDEX
from hashneg.device_embeddings import DeviceEmbeddings, unit_rows
from hashneg.hamming import order
from hashneg.mining import scoring
from hashneg.weights import STRATEGIES as WEIGHTED

_GATHER_BYTES = 256 << 20


def code_scores(codes: Any, corpus: Any, ids: Any, n_bits: int) -> Any:
    """cos(pi H / n_bits) for given pairs, float32 (m, p); NaN where `ids` is -1."""
    if not len(corpus):
        return cuda_arrays.namespace(True).full(ids.shape, np.nan, np.float32)
    differing = codes[:, None] ^ corpus[np.maximum(ids, 0)]
    distances = cuda_arrays.count_ones(differing).sum(axis=2, dtype=np.int32)
    return np.where(ids >= 0, scoring.cosine_of_distance(distances, n_bits), np.float32(np.nan))


def exact_scores(anchors: DeviceEmbeddings, corpus: DeviceEmbeddings, ids: Any, similarity: str, backend: str) -> Any:
    """Cosine or dot product of anchor i with corpus row ids[i, j], float32 (m, p); NaN where `ids` is -1."""
    run, cosine = implementation("pair_scores", backend), similarity == "cosine"
    dtype = np.result_type(anchors.dtype, corpus.dtype)
    squares_may_overflow = cosine and dtype == np.float64
    readable = backend == "cupy" or {x.stored.dtype.name for x in (anchors, corpus)} <= {"float32", "float64"}
    if readable and not squares_may_overflow:
        return run(anchors.stored, corpus.stored, ids, cosine)
    scores = cuda_arrays.namespace(True).full(ids.shape, np.nan, np.float32)
    rows = anchors.block(0, len(anchors)).astype(dtype)
    rows = unit_rows(rows) if squares_may_overflow else rows
    step = max(1, _GATHER_BYTES // (max(1, ids.shape[1]) * corpus.shape[1] * dtype.itemsize))
    for start in range(0, len(ids) if len(corpus) else 0, step):
        part = ids[start : start + step]
        gathered = corpus.take(np.maximum(part, 0).reshape(-1)).astype(dtype)
        gathered = unit_rows(gathered) if squares_may_overflow else gathered
        places = cuda_arrays.namespace(True).arange(part.size).reshape(part.shape)
        which = np.where(part >= 0, places, np.int64(NO_INDEX))
        scores[start : start + step] = run(rows[start : start + step], gathered, which, cosine)
    return scores


def best_first(scores: Any, ids: Any, count: int) -> tuple[Any, Any]:
    """The first `count` of each row sorted by (-score, index); NaN last, where `ids` is -1."""
    keys = np.sort(np.where(ids == NO_INDEX, order.LAST, order.keys_of(scores, ids)), axis=1)[:, :count]
    missing = keys == order.LAST
    scores, ids = order.of_keys(keys)
    return np.where(missing, np.float32(np.nan), scores), np.where(missing, np.int64(NO_INDEX), ids)


def refuse_host_steps(*, score_fn: Any, rerank: Any, strategy: Any, probe: float) -> None:
    """RuntimeError for what runs on the host alone: its candidates would have to come there unasked."""
    wanted = {
        "score_fn": score_fn is not None,
        f"rerank={rerank!r}": isinstance(rerank, str),
        f"strategy={strategy!r}": strategy in WEIGHTED,
        f"probe={probe!r}": probe < 1,
    }
    for what, is_wanted in wanted.items():
        if is_wanted:
            raise RuntimeError(f"{what} runs on the host, but anchors lie on a CUDA device; move them first")
