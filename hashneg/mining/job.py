"""One mining job: arguments checked once, corpus quantized once, anchors mined slice by slice."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashneg import checks, cuda_arrays
from hashneg.backends import choose_backend
from hashneg.backends.request import NO_INDEX
from hashneg.codes import Codes, width_of
from hashneg.device_embeddings import AnyEmbeddings, embeddings, finite_check, is_on_device
from hashneg.hamming import HammingIndex
from hashneg.hamming.results import TopK
from hashneg.mining import device_scoring, scorers, scoring
from hashneg.mining.device_scoring import refuse_host_steps
from hashneg.mining.filters import Filters, plain_int
from hashneg.mining.masks import Masks
from hashneg.mining.report import MiningReport, ScoreSummary
from hashneg.mining.strategies import Strategy
from hashneg.progress import Meter, Progress
from hashneg.quantize import BinaryQuantizer
from hashneg.quantize.quantizer import block_rows
from hashneg.threads import run_tiles, thread_count, using_threads

SIMILARITIES = ("cosine", "dot")
_SLICE_BYTES = 64 << 20
_CANDIDATE_BYTES = 16  # an id, a distance and a score
_CHOOSE_SCORES = 1 << 16  # sorted at a time


@dataclass(frozen=True)
class Mined:
    """Negatives of the anchors of one slice.

    Attributes
    ----------
    indices : int64 (m, k), scores : float32 (m, k), counts : int64 (m,)
    positive_scores : float32 (m,), each anchor's lowest positive; NaN where it has none
    removed : dict of filter name to the number of candidates it removed
    """

    indices: Any
    scores: Any
    counts: Any
    positive_scores: Any
    removed: dict[str, Any]

    @classmethod
    def joined(cls, parts: list[Mined]) -> Mined:
        """Slices in order, as one."""
        removed: dict[str, Any] = {}
        for part in parts:
            for name, count in part.removed.items():
                removed[name] = removed.get(name, 0) + count
        return cls(
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.positive_scores for part in parts]),
            removed,
        )


class MiningJob:
    """The arguments of `mine_hard_negatives`, checked, and the state of its run."""

    def __init__(
        self,
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
        score_fn: scoring.ScoreFunction | None = None,
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
    ) -> None:
        self.anchors: Any = embeddings(anchors, "anchors")  # as AnyEmbeddings; both lie on one side
        self.corpus: Any = self.anchors if corpus is None else embeddings(corpus, "corpus", anchors)
        self._on_device = is_on_device(self.anchors)
        if self.anchors.shape[1] != self.corpus.shape[1]:
            raise ValueError(
                f"anchors have {self.anchors.shape[1]} dimensions, corpus has {self.corpus.shape[1]}; they must agree"
            )
        self.itself = corpus is None
        if corpus is anchors and query_ids is None and positives is None:
            warnings.warn(
                "anchors and corpus are the same array, so an anchor is its own hardest negative; leave corpus out, or "
                "pass query_ids",
                stacklevel=3,
            )
        self.k = checks.integer(k, "k", minimum=1)
        self.rerank = scorers.Rerank.checked(rerank)
        self.similarity = checks.choice(similarity, "similarity", SIMILARITIES)
        if score_fn is not None and not callable(score_fn):
            raise TypeError(f"score_fn must be a function of (anchor_rows, corpus_rows), got {score_fn!r}")
        if score_fn is not None and (self.rerank.from_codes or not self.rerank.factor):
            raise ValueError(
                f"score_fn scores the candidates of the rerank, so it needs rerank >= 1, an integer; got {rerank!r}"
            )
        self.score_fn = score_fn
        self.filters = Filters.checked(
            self.k, positives is not None, min_score=min_score, max_score=max_score,
            absolute_margin=absolute_margin, relative_margin=relative_margin,
            range_min=range_min, range_max=range_max,
        )  # fmt: skip
        self.probe = checks.real(probe, "probe", minimum=0.0, maximum=1.0)
        self.seed = checks.integer(seed, "seed", minimum=0)
        self.strategy = Strategy(strategy, strategy_options, self.seed, len(self.corpus))
        if self._on_device:
            refuse_host_steps(score_fn=score_fn, rerank=rerank, strategy=strategy, probe=self.probe)
        self.backend = choose_backend(backend, self._on_device)
        self.threads = thread_count(threads)
        self.quantizer = self._quantizer(quantizer)
        if self.quantizer.dim is None and not len(self.corpus):
            raise ValueError(f"{self.corpus.name} has no rows to fit the quantizer on; give a fitted quantizer")
        if self.rerank.from_codes:
            scorers.RabitqScorer.check(self.quantizer, self.similarity)
        self.masks = Masks.checked(
            len(self.anchors), len(self.corpus), self.itself, labels=labels, corpus_labels=corpus_labels,
            query_ids=query_ids, exclude=exclude, allow=allow, positives=positives, like=anchors,
            also=finite_check(self.anchors, self.corpus),
        )  # fmt: skip
        self.seconds: dict[str, float] = {}
        self._index: HammingIndex | None = None
        self._codes: Codes | None = None
        self._scorer: scorers.Scorer | None = None

    @property
    def pool(self) -> int:
        """Candidates taken from the Hamming search for each anchor; the corpus has no more than its rows."""
        wanted = max(self.filters.range_max or 0, self.filters.range_min + max(1, self.rerank.factor) * self.k)
        return min(wanted, max(1, len(self.corpus)))

    @property
    def slice_rows(self) -> int:
        """Anchors of a slice whose working arrays stay within a fixed budget of memory."""
        return int(np.clip(_SLICE_BYTES // (_CANDIDATE_BYTES * self.pool), 1, 16384))

    def fit(self, progress: Progress = False) -> None:
        """Fit the quantizer on the corpus, unless it is fitted."""
        if self.quantizer.dim is not None:
            return
        corpus = self.corpus.normalize()
        with self._timed("fit"), Meter(progress, len(corpus), "fitting") as meter:
            fresh = copy(self.quantizer)
            for _, block in corpus.blocks(block_rows(corpus.shape[1])):
                fresh.partial_fit(block)
                meter.advance(len(block))
            self.quantizer = fresh

    def prepare(self, progress: Progress = False) -> None:
        """Fit the quantizer on the corpus, unless it is fitted, and lay out the corpus codes."""
        self.fit(progress)
        with self._timed("encode"):
            self._codes = self._encode(self.corpus.normalize(), progress)
            self._scorer = self._scorer_of(self._codes)
            self.strategy.prepare(self._codes)
        with self._timed("index"):
            order = "clustered" if self.probe < 1 else "given"
            self._index = HammingIndex(self._codes, self.masks.corpus_labels, order=order)

    def mine(self, start: int, stop: int) -> Mined:
        """Mine the anchors `start` to `stop`; `prepare` comes first. A slice does not depend on the others."""
        assert self._index is not None and self._codes is not None, "prepare() comes first"
        with self._timed("encode"):
            codes = self._codes[start:stop] if self.itself else self.quantizer.encode(
                embeddings(self.anchors.block(start, stop), "anchors").normalize()
            )  # fmt: skip
        with self._timed("search"):
            found = self._index.topk(
                codes, self.pool, probe=self.probe, backend=self.backend, threads=self.threads,
                **self.masks.of(start, stop),
            )  # fmt: skip
        with self._timed("rerank"):
            scores, positive = self._scores(codes, found, start, stop)
        with self._timed("filter"):
            return self._choose(scores, found.indices, positive, np.arange(start, stop))

    def run(self, progress: Progress = False) -> Mined:
        """Prepare, then mine all anchors."""
        self.prepare(progress)
        parts = []
        with Meter(progress, len(self.anchors), "mining", "anchor") as meter:
            for start in range(0, max(len(self.anchors), 1), self.slice_rows):
                stop = min(start + self.slice_rows, len(self.anchors))
                parts.append(self.mine(start, stop))
                meter.advance(stop - start)
        return Mined.joined(parts)

    def report(self, mined: Mined) -> MiningReport:
        """Describe what was mined."""
        return MiningReport(
            n_anchors=len(mined.counts),
            n_corpus=len(self.corpus),
            n_bits=self.quantizer.n_bits,
            k=self.k,
            pool=self.pool,
            mined=int(mined.counts.sum()),
            short=int(np.count_nonzero(mined.counts < self.k)),
            removed={name: int(count) for name, count in mined.removed.items()},
            positives=ScoreSummary.of(mined.positive_scores),
            negatives=ScoreSummary.of(mined.scores),
            seconds=dict(self.seconds),
            fingerprint=self.quantizer.fingerprint,
        )

    def _quantizer(self, quantizer: int | BinaryQuantizer) -> BinaryQuantizer:
        if isinstance(quantizer, BinaryQuantizer):
            quantizer = copy(quantizer)  # one that is not fitted is fitted here, and stays as it is for the caller
        else:
            if isinstance(quantizer, (str, bytes, float)) or quantizer is None:
                raise TypeError(f"quantizer must be a number of bits or a BinaryQuantizer, got {quantizer!r}")
            quantizer = BinaryQuantizer(checks.integer(quantizer, "quantizer", minimum=1), seed=self.seed)
        quantizer._backend = self.backend
        if quantizer.dim not in (None, self.corpus.shape[1]):
            raise ValueError(
                f"quantizer was fitted on {quantizer.dim} dimensions, but corpus has {self.corpus.shape[1]}"
            )
        return quantizer

    def _encode(self, rows: AnyEmbeddings, progress: Progress) -> Codes:
        shape = len(rows), width_of(self.quantizer.n_bits)
        codes = cuda_arrays.namespace(self._on_device).empty(shape, np.uint8)
        with Meter(progress, len(rows), "encoding") as meter:
            for start, block in rows.blocks(block_rows(rows.shape[1])):
                codes[start : start + len(block)] = self.quantizer.encode(block).host
                meter.advance(len(block))
        return Codes(codes, self.quantizer.n_bits)

    def _scorer_of(self, codes: Codes) -> scorers.Scorer:
        if not self.rerank.factor:
            return scorers.CodeScorer(codes)
        if self.rerank.from_codes:
            return scorers.RabitqScorer(self.anchors, self.corpus, codes, self.quantizer, self.backend, self.threads)
        if self.score_fn is not None:
            return scorers.FunctionScorer(self.score_fn)
        if self._on_device:
            return scorers.DeviceScorer(self.anchors, self.corpus, self.similarity, self.backend)
        return scorers.ExactScorer(self.anchors, self.corpus, self.similarity, self.backend, self.threads)

    def _scores(self, codes: Codes, found: TopK, start: int, stop: int) -> tuple[Any, Any]:
        """Candidate scores, and the lowest score among each anchor's positives."""
        assert self._scorer is not None
        score = self._scorer.slice(start, stop, codes)
        if self.rerank.factor:
            scores = score(found.indices)
        else:  # the search has counted the differing bits
            scores = scoring.cosine_of_distance(found.distances, codes.n_bits)
        positives = self.masks.positives
        if positives is not None and positives.shape[1]:
            return scores, _lowest(score(positives[start:stop]))
        return scores, cuda_arrays.namespace(self._on_device).full(stop - start, np.nan, np.float32)

    def _choose(self, scores: Any, ids: Any, positive: Any, rows: np.ndarray) -> Mined:
        """Filter, sort and choose; on the host some anchors at a time, so that what lies between stays in the cache."""
        if self._on_device:
            return self._chosen(scores, ids, positive, rows)
        step = max(1, _CHOOSE_SCORES // self.pool)
        starts = range(0, max(len(rows), 1), step)
        parts: dict[int, Mined] = {}

        def work(start: int) -> None:
            part = slice(start, start + step)
            parts[start] = self._chosen(scores[part], ids[part], positive[part], rows[part])

        run_tiles(work, starts, self.threads)
        return Mined.joined([parts[start] for start in starts])

    def _chosen(self, scores: Any, ids: Any, positive: Any, rows: np.ndarray) -> Mined:
        kept, removed = self.filters.within_limits(scores, positive)
        if gaps := self._on_device or bool(np.any(kept != (ids != NO_INDEX))):
            scores, ids = np.where(kept, scores, np.float32(np.nan)), np.where(kept, ids, np.int64(NO_INDEX))
        first, last = self.filters.range_min, self.filters.range_max or self.pool
        if self.strategy.name == "top":  # ranks beyond these are never returned
            last = first + self.k
        if self.rerank.factor:
            first_of = device_scoring.best_first if self._on_device else scoring.best_first
            scores, ids = first_of(scores, ids, last)
        elif gaps:
            scores, ids = scoring.packed_left(scores, ids)
        left = kept.sum(axis=1)
        in_window = self.filters.in_window(left)
        removed["rank window"] = plain_int((left - in_window).sum())
        make = cuda_arrays.namespace(self._on_device)
        scores, ids = scores[:, first:last], ids[:, first:last]
        if self.strategy.name != "top" and ids.shape[1]:
            beyond = make.arange(ids.shape[1]) >= in_window[:, None]
            chosen = self.strategy.drawn(scores, np.where(beyond, np.int64(NO_INDEX), ids), self.k, rows)
            places = np.argsort((~chosen).astype(np.int8), axis=1, kind="stable")  # the chosen ones in rank order
            places = places[:, : self.k]
            scores, ids = np.take_along_axis(scores, places, axis=1), np.take_along_axis(ids, places, axis=1)
        counts = np.minimum(in_window, self.k)
        indices = make.full((len(rows), self.k), NO_INDEX, np.int64)
        best = make.full((len(rows), self.k), np.nan, np.float32)
        real = make.arange(ids.shape[1]) < counts[:, None]
        indices[:, : ids.shape[1]] = np.where(real, ids, np.int64(NO_INDEX))
        best[:, : ids.shape[1]] = np.where(real, scores, np.float32(np.nan))
        return Mined(indices, best, counts, positive, removed)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begun = time.perf_counter()
        checked = checks.checked_before() if self._on_device else nullcontext()  # the host checks what it reads
        with using_threads(self.threads), checked:
            yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - begun


def _lowest(scores: Any) -> Any:
    """The lowest of each row, (m,); NaN where there is none."""
    missing = np.isnan(scores)
    lowest = np.where(missing, np.float32(np.inf), scores).min(axis=1)
    return np.where(missing.all(axis=1), np.float32(np.nan), lowest)
