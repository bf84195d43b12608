"""mine_hard_negatives: the whole way from embeddings to negatives in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hashneg import arrays
from hashneg.mining.job import MiningJob
from hashneg.mining.report import MiningReport
from hashneg.mining.scoring import ScoreFunction
from hashneg.progress import Progress
from hashneg.quantize import BinaryQuantizer


class HardNegatives(NamedTuple):
    """Negatives of every anchor, hardest first.

    Attributes
    ----------
    indices : array, int64 (n, k)
        Corpus rows, padded with -1.
    scores : array, float32 (n, k)
        Padded with NaN.
    counts : array, int64 (n,)
        How many negatives of each anchor are real.
    report : MiningReport
    """

    indices: Any
    scores: Any
    counts: Any
    report: MiningReport


def mine_hard_negatives(
    anchors: Any,
    corpus: Any = None,
    *,
    positives: Any = None,
    labels: Any = None,
    corpus_labels: Any = None,
    query_ids: Any = None,
    exclude: Any = None,
    allow: Any = None,
    k: int = 16,
    quantizer: int | BinaryQuantizer = 512,
    rerank: int | str = 4,
    similarity: str = "cosine",
    score_fn: ScoreFunction | None = None,
    range_min: int = 0,
    range_max: int | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    strategy: str = "top",
    strategy_options: Mapping[str, Any] | None = None,
    probe: float = 1.0,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress = False,
) -> HardNegatives:
    """Find hard negatives: corpus rows close to an anchor that are not its positives.

    Embeddings are L2-normalised and quantized, the codes searched exactly by Hamming distance with all
    exclusions inside the search, the nearest candidates scored exactly, filtered, and k of them chosen.

    Parameters
    ----------
    anchors : array, float (n, d)
    corpus : array, float (m, d), optional
        Where to look. Without it the anchors are mined against each other, and an anchor is never its own
        negative.
    positives : array, int (n,) or (n, p), optional
        Corpus rows (rows of `anchors` without a corpus) that are positives of anchor i, padded with -1. They
        are never returned, and the margins are measured from the lowest of their scores.
    labels, corpus_labels : array, int (n,), (m,), optional
        Rows of the anchor's own label are not returned. Without a corpus `labels` serves both sides.
    query_ids : array, int (n,), optional
        The corpus row that anchor i is, or -1; it is not returned.
    exclude : array, int (n, e), optional
        Further corpus rows not to return, padded with -1.
    allow : array, bool (m,) or (n, m), or uint8 packed low bit first, optional
        Only these corpus rows are returned.
    k : int
        Negatives per anchor.
    quantizer : int or BinaryQuantizer
        Bits of the codes, or a quantizer; one that is not fitted is fitted on the corpus (a copy of it).
    rerank : int, "rabitq" or "rabitq:FACTOR"
        Take ``rerank * k`` candidates from the Hamming search and order them by their exact score. 0 keeps
        Hamming order, and scores are then the estimate cos(pi H / n_bits). "rabitq" orders ``4 * k`` candidates, or
        FACTOR times k, by an estimate of the cosine from the anchor's embedding, the code and two numbers for each
        corpus row (`hashneg.theory.rabitq_scores`): the corpus embeddings are read once and never gathered from. It
        needs ``similarity="cosine"``, a rotation drawn at random, and center "mean" or None.
    similarity : "cosine" or "dot"
        The exact score. Cosine with a row of zeros is 0.
    score_fn : function, optional
        Scores instead of `similarity`, for example by a cross-encoder: called with two int64 arrays of equal
        length, anchor rows and corpus rows, it returns one float for each pair.
    range_min, range_max : int, optional
        Keep ranks ``range_min <= rank < range_max``, counted among the candidates that passed all other filters.
    min_score, max_score : float, optional
        Keep ``min_score <= score <= max_score``.
    absolute_margin : float, optional
        Keep ``score <= pos - absolute_margin``, pos being the lowest score among the anchor's positives.
    relative_margin : float, optional
        Keep ``score <= pos - abs(pos) * relative_margin``.
    strategy : "top", "random", "unremix", "hcl" or "soft_info_nce"
        Return the first k that are left, or k of them drawn by (seed, anchor row), in rank order: each alike, or in
        proportion to the weight that `hashneg.weights` gives their scores. "unremix" is a reconstruction of the
        paper's weight, see `hashneg.weights.unremix`.
    strategy_options : mapping, optional
        Of the weight: ``temperature`` and ``beta`` of `hashneg.weights.hcl`; ``alpha``, ``beta``, ``temperature`` and
        ``floor`` of `hashneg.weights.soft_info_nce`; ``factors`` of `hashneg.weights.importance` for
        "unremix", with ``uncertainty`` and ``representativeness``, one float for each corpus row; the latter is the
        mean Hamming distance to all other rows unless given, the former is left out.
    probe : float
        Below 1, search only the most promising share of the corpus; see `HammingIndex.topk`.
    seed : int
        Of the quantizer (if `quantizer` is a number) and of the strategies that draw.
    backend : str
        "auto", "cpu" or "reference"; see `hashneg.backends`.
    threads : int, optional
        Threads to use; all cores of this process by default.
    progress : bool or callable
        Show progress bars, or call ``progress(done, total)``.

    Returns
    -------
    HardNegatives
        indices int64 (n, k), scores float32 (n, k), counts int64 (n,), report; arrays are of the framework of
        `anchors`. Where filters leave fewer than k, rows are padded with -1 and NaN.

    Raises
    ------
    TypeError
        If an argument is of the wrong type; positives as floats, for example.
    ValueError
        If shapes or ids do not fit, embeddings hold NaN or infinity, margins come without positives, or the
        rank window is narrower than k.
    RuntimeError
        If the backend is not available, or an array lies on a device without one.

    Notes
    -----
    Embeddings of a CUDA device are mined there, with all other arrays beside them. `score_fn`, `probe` below 1, the
    RaBitQ rerank and the weighted strategies run on the host, and are refused.

    References
    ----------
    Quantization and search: LSH hard negatives (arXiv 2505.17844). Margins below the positive:
    NV-Retriever (arXiv 2407.15831).

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> rng = np.random.default_rng(0)
    >>> corpus = rng.standard_normal((1000, 64), dtype=np.float32)
    >>> anchors = corpus[:100] + 0.3 * rng.standard_normal((100, 64), dtype=np.float32)
    >>> mined = hn.mine_hard_negatives(anchors, corpus, positives=np.arange(100), k=5, relative_margin=0.05)
    >>> mined.indices.shape, int(mined.counts.min())
    ((100, 5), 5)
    >>> bool((mined.indices == np.arange(100)[:, None]).any())
    False
    """
    with arrays.current_stream(anchors):
        job = MiningJob(
            anchors, corpus, positives=positives, labels=labels, corpus_labels=corpus_labels, query_ids=query_ids,
            exclude=exclude, allow=allow, k=k, quantizer=quantizer, rerank=rerank, similarity=similarity,
            score_fn=score_fn, range_min=range_min, range_max=range_max, min_score=min_score, max_score=max_score,
            absolute_margin=absolute_margin, relative_margin=relative_margin, strategy=strategy,
            strategy_options=strategy_options, probe=probe, seed=seed, backend=backend, threads=threads,
        )  # fmt: skip
        mined = job.run(progress)
        export = arrays.exporter(anchors)
        return HardNegatives(export(mined.indices), export(mined.scores), export(mined.counts), job.report(mined))
