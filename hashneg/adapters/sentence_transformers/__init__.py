"""hashneg behind the interface of sentence-transformers' miner: change the import, and keep the call.

Nothing of sentence-transformers is imported; a model is whatever has its ``encode`` methods.
"""

from hashneg.adapters.sentence_transformers.mine import mine_hard_negatives

__all__ = ["mine_hard_negatives"]
