"""From embeddings to codes: rotate, center, take signs."""

from hashneg.quantize.quantizer import BinaryQuantizer, ConstantBitWarning, NotFittedError

__all__ = ["BinaryQuantizer", "ConstantBitWarning", "NotFittedError"]
