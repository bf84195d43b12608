"""Exact search by Hamming distance, its exclusions, and the float yardstick."""

from hashneg.hamming.exact import exact_topk, overlap_at_k
from hashneg.hamming.index import HammingIndex
from hashneg.hamming.merge import merge_topk
from hashneg.hamming.results import CSR, ScoredTopK, TopK
from hashneg.hamming.search import hamming_distances, hamming_range, hamming_topk
from hashneg.hamming.streaming import stream_topk

__all__ = [
    "CSR",
    "HammingIndex",
    "ScoredTopK",
    "TopK",
    "exact_topk",
    "hamming_distances",
    "hamming_range",
    "hamming_topk",
    "merge_topk",
    "overlap_at_k",
    "stream_topk",
]
