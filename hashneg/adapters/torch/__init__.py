"""hashneg in PyTorch: operators, samplers, a sharded table, and hooks for the trainers around it.

Operators, for models and under ``torch.compile(fullgraph=True)``: `pack_signs`, `hamming_topk`, `Encoder` and
`straight_through_sign`. For the training loop: `BatchSampler`, `ShardedCodeTable`, `MiningLoop`, to be called by
`hugging_face_callback` or `lightning_callback`, `save` and `load`. For learned codes: `HashHead` and `nsh_loss`. For
pytorch-metric-learning: `HammingMiner` and `HammingKNN`.
"""

from hashneg.adapters.torch.callbacks import MiningLoop, hugging_face_callback, lightning_callback
from hashneg.adapters.torch.checkpoints import load, save
from hashneg.adapters.torch.encoder import Encoder, straight_through_sign
from hashneg.adapters.torch.hash_head import HashHead, nsh_loss
from hashneg.adapters.torch.memory import use_torch_allocator
from hashneg.adapters.torch.metric_learning import HammingKNN, HammingMiner
from hashneg.adapters.torch.operators import hamming_topk, pack_signs
from hashneg.adapters.torch.sampler import BatchSampler
from hashneg.adapters.torch.sharded import ShardedCodeTable

__all__ = [
    "BatchSampler",
    "Encoder",
    "HammingKNN",
    "HammingMiner",
    "HashHead",
    "MiningLoop",
    "ShardedCodeTable",
    "hamming_topk",
    "hugging_face_callback",
    "lightning_callback",
    "load",
    "nsh_loss",
    "pack_signs",
    "save",
    "straight_through_sign",
    "use_torch_allocator",
]
