"""mine_hard_negatives with the parameters and results of sentence-transformers' function of that name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hashneg import arrays, checks, mining
from hashneg.adapters.sentence_transformers import embed, formats
from hashneg.adapters.sentence_transformers.pairs import Pairs
from hashneg.backends import choose_backend
from hashneg.backends.request import NO_INDEX
from hashneg.mining import scoring
from hashneg.mining.filters import STRATEGIES, Filters, draw
from hashneg.mining.report import ScoreSummary
from hashneg.quantize import BinaryQuantizer
from hashneg.threads import thread_count


def mine_hard_negatives(
    dataset: Any,
    model: Any,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: list[Any] | None = None,
    cross_encoder: Any = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: str = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: str = "triplet",
    output_scores: bool = False,
    batch_size: int = 32,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: bool | list[str] = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    quantizer: int | BinaryQuantizer = 512,
    rerank: int = 4,
    probe: float = 1.0,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
) -> Any:
    """Add hard negatives to (anchor, positive) pairs, called like ``sentence_transformers.util.mine_hard_negatives``.

    Candidates come from the binary codes and are reordered by their exact cosine; all that follows is as there.

    Parameters
    ----------
    dataset : datasets.Dataset, pandas.DataFrame, or dict of columns
        Texts, or any other items that can be hashed. Pairs of one anchor are all its positives.
    model : SentenceTransformer, or tuple of arrays
        What encodes the texts; or embeddings (anchors, positives) with a row for each row of the data set, and
        with a corpus (anchors, positives, corpus). Embeddings are L2-normalised.
    anchor_column_name, positive_column_name : str, optional
        The first and the second column by default.
    corpus : list, optional
        Further texts to find negatives among, beside the positives.
    cross_encoder : CrossEncoder, optional
        Scores the candidates, and the positives, instead of the cosine where a limit or margin is set.
    range_min, range_max : int, optional
        Ranks ``range_min <= rank < range_max`` of the candidates that are left; also, before anything is filtered,
        only the nearest ``range_max`` texts, and as many more as one anchor has positives, are candidates. By default
        range_min + num_negatives and these, or ten times num_negatives where a limit or margin is set.
    max_score, min_score : float, optional
    absolute_margin, relative_margin : float, optional
        Keep scores up to pos - absolute_margin, and pos - abs(pos) * relative_margin; pos is the lowest score among the
        anchor's positives.
    num_negatives : int
    sampling_strategy : "top" or "random"
        Random negatives are drawn by (seed, anchor), without touching a global random state.
    query_prompt_name, query_prompt, corpus_prompt_name, corpus_prompt : str, optional
        Passed to the model.
    include_positives : bool
        Rank the positives among the negatives; the format is then "n-tuple".
    output_format : "triplet", "n-tuple", "labeled-pair" or "labeled-list"
    output_scores : bool
    batch_size : int
        Of the models.
    faiss_batch_size, use_faiss
        Accepted, and without effect: no matrix of all similarities is made.
    use_multi_process : bool or list of str
        Passed to the models, which start their own processes.
    verbose : bool
        Show progress bars, and print a report.
    cache_folder : str, optional
        Keep embeddings in files named by a digest of the model's weights, prompts and texts.
    as_triplets, margin
        Deprecated there; a FutureWarning says what to use.
    quantizer, rerank, probe, seed, backend, threads
        As in `hashneg.mine_hard_negatives`; rerank counts times range_max and must be at least 1.

    Returns
    -------
    datasets.Dataset, pandas.DataFrame or dict
        Of the type of `dataset`, with the columns that sentence-transformers gives to `output_format`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above, the window of ranks is narrower than num_negatives, or the model
        compares by a distance instead of cosine or dot product.

    See Also
    --------
    hashneg.mine_hard_negatives : on arrays alone.

    References
    ----------
    The interface: sentence-transformers 6.2. Margins: NV-Retriever (arXiv 2407.15831).

    Examples
    --------
    >>> import numpy as np
    >>> from hashneg.adapters.sentence_transformers import mine_hard_negatives
    >>> pairs = {"question": ["q0", "q1", "q2"], "answer": ["a0", "a1", "a2"]}
    >>> answers = np.array([[1.0, 0.0], [0.9, 0.4], [-1.0, 0.2]])
    >>> embeddings = answers + 0.01, answers
    >>> mined = mine_hard_negatives(pairs, embeddings, num_negatives=1, verbose=False)
    >>> mined["negative"]
    ['a1', 'a0', 'a1']
    """
    if as_triplets is not None:
        output_format = "triplet" if as_triplets else "n-tuple"
        checks.warn(f"as_triplets is deprecated; use output_format={output_format!r}", FutureWarning)
    if margin is not None:
        absolute_margin = margin
        checks.warn("margin is deprecated; use absolute_margin or relative_margin", FutureWarning)
    if output_format == "n-tuple-scores":
        output_format, output_scores = "n-tuple", True
        checks.warn("'n-tuple-scores' is deprecated; use output_format='n-tuple', output_scores=True", FutureWarning)
    checks.choice(output_format, "output_format", formats.FORMATS)
    checks.choice(sampling_strategy, "sampling_strategy", STRATEGIES)
    rerank = checks.integer(rerank, "rerank", minimum=1)
    if include_positives:
        output_format = "n-tuple"  # the only one that keeps the order
    pairs = Pairs(dataset, anchor_column_name, positive_column_name, corpus)
    limits = {"min_score": min_score, "max_score": max_score, "absolute_margin": absolute_margin,
              "relative_margin": relative_margin}  # fmt: skip
    filters = _filters(num_negatives, range_min, range_max, limits, pairs.most_positives, cross_encoder is not None)

    if isinstance(model, tuple):
        if cache_folder is not None:
            raise ValueError("cache_folder keeps what a model computes, but embeddings were given")
        n_corpus = None if corpus is None else len(corpus)
        queries, texts = embed.given(model, pairs, n_corpus)
    else:
        if (compare := getattr(model, "similarity_fn_name", None)) not in (None, "cosine", "dot"):
            raise ValueError(f"model compares by {compare!r}; codes estimate angles, so it must be 'cosine' or 'dot'")
        with embed.processes(model, use_multi_process) as pool:
            options = batch_size, pool, verbose, cache_folder
            texts = embed.computed(model, pairs.corpus, "document", corpus_prompt_name, corpus_prompt, *options)
            queries = embed.computed(model, pairs.queries, "query", query_prompt_name, query_prompt, *options)

    assert filters.range_max is not None
    window = filters.range_max + pairs.most_positives
    mined = mining.mine_hard_negatives(
        queries, texts, positives=pairs.positives, k=min(window, len(pairs.corpus)), quantizer=quantizer, rerank=rerank,
        probe=probe, seed=seed, backend=backend, threads=threads, progress=verbose,
    )  # fmt: skip
    rows = arrays.embeddings(texts, "corpus embeddings")
    own = scoring.exact_scores(
        arrays.embeddings(queries, "anchor embeddings").block(0, len(queries)).astype(rows.dtype, copy=False), rows,
        pairs.positives, "cosine", choose_backend(backend), thread_count(threads),
    )  # fmt: skip
    scores, ids = scoring.best_first(
        np.concatenate([mined.scores, own], axis=1), np.concatenate([mined.indices, pairs.positives], axis=1), window
    )
    if cross_encoder is not None and filters.limits:
        with embed.processes(cross_encoder, use_multi_process) as pool:
            scores = _predicted(cross_encoder, pairs, ids, batch_size, pool)
            own = _predicted(cross_encoder, pairs, pairs.positives, batch_size, pool)
    if not include_positives:
        for positive in pairs.positives.T:
            scores[ids == positive[:, None]] = np.nan
    kept, removed = filters.within_limits(scores, np.fmin.reduce(own, axis=1))
    negatives, scores = _chosen(scores, np.where(kept, ids, NO_INDEX), filters, num_negatives, sampling_strategy, seed)
    if verbose:
        found = np.count_nonzero(negatives != NO_INDEX, axis=1)
        print(replace(
            mined.report, k=num_negatives, mined=int(found.sum()), short=int((found < num_negatives).sum()),
            removed=removed, positives=ScoreSummary.of(own), negatives=ScoreSummary.of(scores),
        ))  # fmt: skip
    data = formats.columns(output_format, output_scores, pairs, formats.Found(negatives, scores, own))
    return dataset.from_dict(data) if hasattr(dataset, "from_dict") else data


def _filters(
    k: Any, range_min: Any, range_max: Any, limits: dict[str, Any], most_positives: int, cross_encoder: bool
) -> Filters:
    """The limits, and the window of ranks, which sentence-transformers widens where limits are set."""
    k, range_min = checks.integer(k, "num_negatives", minimum=1), checks.integer(range_min, "range_min", minimum=0)
    if range_max is None:
        widening = [
            name for name, limit in limits.items() if limit is not None and (name != "min_score" or cross_encoder)
        ]
        range_max = range_min + (10 * k if widening else k) + most_positives
    elif checks.integer(range_max, "range_max", minimum=1) - range_min < k:
        raise ValueError(f"range_max - range_min = {range_max - range_min} leaves fewer ranks than num_negatives={k}")
    return Filters.checked(k, True, range_min=range_min, range_max=range_max, **limits)


def _predicted(cross_encoder: Any, pairs: Pairs, ids: np.ndarray, batch_size: int, pool: Any) -> np.ndarray:
    """What the cross-encoder makes of every query with the texts `ids`, float32; NaN where these are -1."""

    def score(queries: np.ndarray, texts: np.ndarray) -> np.ndarray:
        given = [(pairs.queries[i], pairs.corpus[j]) for i, j in zip(queries.tolist(), texts.tolist(), strict=True)]
        return cross_encoder.predict(given, batch_size=batch_size, **({} if pool is None else {"pool": pool}))

    return scoring.function_scores(score, np.arange(len(ids)), ids)


def _chosen(
    scores: np.ndarray, ids: np.ndarray, filters: Filters, k: int, strategy: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the candidates that are left those of the window, and of these the first k, or k at random: (q, k), padded."""
    scores, ids = scoring.best_first(np.where(ids == NO_INDEX, np.nan, scores), ids, filters.range_max or 0)
    scores, ids = scores[:, filters.range_min :], ids[:, filters.range_min :]
    if strategy == "random":
        left = draw(ids != NO_INDEX, k, seed, np.arange(len(ids)))
        order = np.argsort(~left, axis=1, kind="stable")[:, :k]  # the drawn ones in the order of their ranks
        scores, ids = np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
    scores, ids = scores[:, :k], ids[:, :k]
    missing = ((0, 0), (0, k - ids.shape[1]))  # a corpus smaller than the window
    return np.pad(ids, missing, constant_values=NO_INDEX), np.pad(scores, missing, constant_values=np.nan)
