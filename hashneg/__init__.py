"""hashneg: hard negatives for contrastive learning, by binary codes and exact Hamming search.

Start with `mine_hard_negatives`, which goes the whole way from embeddings to negatives. Its parts are
`BinaryQuantizer` (embeddings to `Codes`), `hamming_topk` and `HammingIndex` (exact search with exclusions), and
`exact_topk` with `overlap_at_k` (how much the codes find of what the embeddings would).

Each name is imported when it is first used, so that ``import hashneg`` costs no more than NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as _numpy  # the one dependency that every use needs

__version__ = "0.1.0.dev0"

_HOME_OF = {
    "BinaryQuantizer": "hashneg.quantize",
    "NotFittedError": "hashneg.quantize",
    "ConstantBitWarning": "hashneg.quantize",
    "Codes": "hashneg.codes",
    "hamming_distances": "hashneg.hamming",
    "hamming_topk": "hashneg.hamming",
    "hamming_range": "hashneg.hamming",
    "merge_topk": "hashneg.hamming",
    "stream_topk": "hashneg.hamming",
    "exact_topk": "hashneg.hamming",
    "overlap_at_k": "hashneg.hamming",
    "HammingIndex": "hashneg.hamming",
    "TopK": "hashneg.hamming",
    "CSR": "hashneg.hamming",
    "ScoredTopK": "hashneg.hamming",
    "mine_hard_negatives": "hashneg.mining",
    "HardNegatives": "hashneg.mining",
    "MiningReport": "hashneg.mining",
    "CodeTable": "hashneg.table",
    "Drift": "hashneg.table",
    "HardBatchSampler": "hashneg.batches",
}
_MODULES = ("backends", "hashing", "losses", "sorting", "theory", "weights")

__all__ = [*_HOME_OF, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


if TYPE_CHECKING:
    from hashneg import hashing, losses, sorting, theory, weights
    from hashneg.backends import available as backends
    from hashneg.batches import HardBatchSampler
    from hashneg.codes import Codes
    from hashneg.hamming import (
        CSR,
        HammingIndex,
        ScoredTopK,
        TopK,
        exact_topk,
        hamming_distances,
        hamming_range,
        hamming_topk,
        merge_topk,
        overlap_at_k,
        stream_topk,
    )
    from hashneg.mining import HardNegatives, MiningReport, mine_hard_negatives
    from hashneg.quantize import BinaryQuantizer, ConstantBitWarning, NotFittedError
    from hashneg.table import CodeTable, Drift
