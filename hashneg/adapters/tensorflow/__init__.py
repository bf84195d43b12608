"""hashneg in TensorFlow: packing, search and a code table in TensorFlow's own operations, tf.data, a Keras callback.

`pack_signs`, `hamming_topk`, `Encoder` and `CodeTable` run eagerly, in ``tf.function`` and under ``jit_compile=True``;
`dataset` makes the batches of a `HardBatchSampler` a ``tf.data`` pipeline, and `MiningCallback` mines between the
epochs of ``model.fit``. Outside ``tf.function``, on the CPU, `hashneg.hamming_topk` takes TensorFlow tensors too,
searches many times faster and checks their values.
"""

from hashneg.adapters.tensorflow.callback import MiningCallback
from hashneg.adapters.tensorflow.data import dataset
from hashneg.adapters.tensorflow.encoder import Encoder
from hashneg.adapters.tensorflow.operators import hamming_topk, pack_signs
from hashneg.adapters.tensorflow.table import CodeTable

__all__ = ["CodeTable", "Encoder", "MiningCallback", "dataset", "hamming_topk", "pack_signs"]
