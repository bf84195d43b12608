"""hashneg in JAX: packing, search and the code table as pure functions and pytrees.

All of it is traced by JAX itself, so that it runs under ``jit``, ``vmap`` and ``scan`` on whatever device the arrays
are on: `pack_signs`, `hamming_topk`, `Encoder` and `CodeTable`. Outside ``jit``, on the CPU, `hashneg.hamming_topk`
takes JAX arrays too, searches many times faster and checks their values.
"""

from hashneg.adapters.jax.encoder import Encoder
from hashneg.adapters.jax.operators import hamming_topk, pack_signs
from hashneg.adapters.jax.table import CodeTable

__all__ = ["CodeTable", "Encoder", "hamming_topk", "pack_signs"]
