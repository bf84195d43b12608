"""From embeddings to hard negatives: quantize, search, rerank, filter, choose."""

from hashneg.mining.mine import HardNegatives, mine_hard_negatives
from hashneg.mining.report import MiningReport

__all__ = ["HardNegatives", "MiningReport", "mine_hard_negatives"]
