"""Contrastive losses, differentiable and compilable in PyTorch, JAX and TensorFlow, and plain numbers in NumPy.

Embeddings are L2-normalised inside. Row i of `anchors` belongs to row i of `positives`; the other rows of the batch
are its negatives, always, and `negatives` adds more. A loss is the mean over the anchors: a 0-d array of the
framework that came in, float32 for 16-bit and float32 input, float64 for float64. Values are not checked, so that a
loss scaler sees NaN and infinity.
"""

from hashneg.losses.groco import groco
from hashneg.losses.hcl import debiased, hcl
from hashneg.losses.info_nce import info_nce
from hashneg.losses.nt_xent import nt_xent
from hashneg.losses.sorted_nce import sorted_nce
from hashneg.losses.synthetic import mochi, synco
from hashneg.weights.pairs import Pairs, similarities

__all__ = [
    "Pairs",
    "debiased",
    "groco",
    "hcl",
    "info_nce",
    "mochi",
    "nt_xent",
    "similarities",
    "sorted_nce",
    "synco",
]
