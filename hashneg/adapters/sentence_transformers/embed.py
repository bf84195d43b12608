"""Embeddings of queries and corpus: from a model, from a cache, or as they were given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hashneg import arrays, files
from hashneg.adapters.sentence_transformers.pairs import Pairs


def given(model: tuple[Any, ...], pairs: Pairs, n_corpus: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (anchors, positives), or with a corpus (anchors, positives, corpus), for the distinct texts."""
    wanted = {"anchor": pairs.n_rows, "positive": pairs.n_rows} | ({} if n_corpus is None else {"corpus": n_corpus})
    if len(model) != len(wanted):
        raise ValueError(f"model as embeddings must be a tuple of arrays ({', '.join(wanted)}), got {len(model)}")
    for name, rows, n in zip(wanted, model, wanted.values(), strict=True):
        if len(arrays.embeddings(rows, f"{name} embeddings")) != n:
            raise ValueError(
                f"{name} embeddings must have a row for each of the {n} texts, got {arrays.describe(rows)}"
            )
    anchors = arrays.embeddings(model[0], "anchor embeddings")
    texts = arrays.embeddings([*model[2:], model[1]], "corpus embeddings")
    return anchors.take(pairs.query_rows), texts.take(pairs.corpus_rows)


def computed(
    model: Any, texts: list[Any], kind: str, prompt_name: str | None, prompt: str | None, batch_size: int, pool: Any,
    verbose: bool, cache_folder: Any,
) -> np.ndarray:  # fmt: skip
    """What ``model.encode_query`` or ``model.encode_document`` gives, ``model.encode`` where it has none such."""

    def compute() -> np.ndarray:
        encode = getattr(model, f"encode_{kind}", None) or model.encode
        options = {"prompt_name": prompt_name, "prompt": prompt, "pool": pool}
        return encode(
            texts, batch_size=batch_size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=verbose,
            **{name: value for name, value in options.items() if value is not None},
        )  # fmt: skip

    if cache_folder is None:
        return compute()
    digest = _fingerprint(model)
    digest.update(repr((kind, prompt_name, prompt, texts)).encode())
    Path(cache_folder).mkdir(parents=True, exist_ok=True)
    return _cached(Path(cache_folder) / f"{kind}_embeddings_{digest.hexdigest()}.npy", compute)


@contextmanager
def processes(model: Any, wanted: bool | list[str]) -> Iterator[Any]:
    """A pool of the model's own processes, or None."""
    pool = model.start_multi_process_pool(target_devices=None if wanted is True else wanted) if wanted else None
    try:
        yield pool
    finally:
        if pool is not None:
            model.stop_multi_process_pool(pool)


def _cached(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    if path.is_file():
        return np.load(path, allow_pickle=False)
    rows = compute()
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, rows, allow_pickle=False)
    return rows


def _fingerprint(model: Any) -> Any:
    """A digest of the weights themselves: a model keeps its name while it is trained."""
    if not hasattr(model, "state_dict"):
        raise ValueError("cache_folder needs a model with state_dict(), to tell the embeddings of one from another's")
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((model, getattr(model, "prompts", None), getattr(model, "default_prompt_name", None))).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(arrays.to_numpy(tensor.cpu(), name)).tobytes())
    return digest
