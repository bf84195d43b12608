"""Learned codes: signs with a gradient, soft Hamming similarity, and the losses that shape them.

An encoder and a linear head give hash activations h (n, n_bits); their signs are the codes. Afterwards
``hn.Codes.from_signs(h)`` packs them for search, and `BinaryQuantizer.from_projection` takes a linear head over.
"""

from hashneg.hashing.cibhash import cibhash
from hashneg.hashing.nsh import nsh
from hashneg.hashing.quantization import bit_balance, quantization
from hashneg.hashing.signs import half_sign, stochastic_sign, straight_through_sign
from hashneg.hashing.similarity import hamming_similarity

__all__ = [
    "bit_balance",
    "cibhash",
    "half_sign",
    "hamming_similarity",
    "nsh",
    "quantization",
    "stochastic_sign",
    "straight_through_sign",
]
