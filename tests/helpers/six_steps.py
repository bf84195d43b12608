"""Mining one anchor at a time in plain Python: the six steps of its definition, one after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length; rows of zeros stay zero."""
    wide = x.astype(np.float64)
    length = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0).astype(x.dtype)


def bits_of(quantizer: Any, x: np.ndarray) -> np.ndarray:
    codes = quantizer.encode(unit(x))
    return np.unpackbits(codes.data, axis=1, count=codes.n_bits, bitorder="little").astype(bool)


def similarity(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    dot = math.fsum((x * y).tolist())
    if kind == "dot":
        return dot
    lengths = math.sqrt(math.fsum((x * x).tolist())) * math.sqrt(math.fsum((y * y).tolist()))
    return dot / lengths if lengths else 0.0


class Anchor:
    """What is left for one anchor after step 5, how many each filter removed, and the lowest positive."""

    def __init__(
        self,
        bits: np.ndarray,
        corpus_bits: np.ndarray,
        *,
        forbidden: set[int],
        positives: list[int],
        score: Callable[[int], float] | None,
        k: int,
        rerank: int,
        range_min: int,
        range_max: int | None,
        min_score: float | None,
        max_score: float | None,
        absolute_margin: float | None,
        relative_margin: float | None,
    ) -> None:
        distances = [int((bits != row).sum()) for row in corpus_bits]
        # 1. exclude
        allowed = [(d, j) for j, d in enumerate(distances) if j not in forbidden and j not in positives]
        # 2. the pool, in Hamming order
        pool = sorted(allowed)[: max(range_max or 0, range_min + max(1, rerank) * k)]
        # 3. scores
        if score is None:
            estimates = {j: math.cos(math.pi * d / len(bits)) for j, d in enumerate(distances)}
            score = estimates.__getitem__
            scored = [(float(np.float32(score(j))), j) for _, j in pool]
        else:
            scored = sorted(((float(np.float32(score(j))), j) for _, j in pool), key=lambda pair: (-pair[0], pair[1]))
        # 4. limits and margins
        self.lowest = min((float(np.float32(score(j))) for j in positives), default=None)
        self.removed: Counter[str] = Counter()
        limits: list[tuple[str, Callable[[float], bool]]] = []
        if min_score is not None:
            limits.append(("min_score", lambda s: s >= min_score))
        if max_score is not None:
            limits.append(("max_score", lambda s: s <= max_score))
        if self.lowest is not None and absolute_margin is not None:
            limits.append(("absolute_margin", lambda s: s <= self.lowest - absolute_margin))
        if self.lowest is not None and relative_margin is not None:
            limits.append(("relative_margin", lambda s: s <= self.lowest - abs(self.lowest) * relative_margin))
        for name, passes in limits:
            self.removed[name] = sum(not passes(s) for s, _ in scored)
            scored = [(s, j) for s, j in scored if passes(s)]
        # 5. ranks count what is left
        self.left = scored[range_min:range_max]
        self.removed["rank window"] = len(scored) - len(self.left)


def check_row(anchor: Anchor, indices: np.ndarray, scores: np.ndarray, count: int, k: int, strategy: str) -> None:
    """Step 6: a mined row takes the first k, or any k in rank order, and is padded."""
    wanted = min(k, len(anchor.left))
    assert count == wanted
    assert (indices[count:] == -1).all()
    assert np.isnan(scores[count:]).all()
    got = indices[:count].tolist()
    ranked = [j for _, j in anchor.left]
    if strategy == "top" or wanted == len(ranked):
        assert got == ranked[:k]
    else:
        places = [ranked.index(j) for j in got]
        assert places == sorted(set(places))
    of = {j: s for s, j in anchor.left}
    np.testing.assert_allclose(scores[:count], [of[j] for j in got], atol=2e-6)
