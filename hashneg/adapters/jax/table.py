"""The code table as a pytree that updates return anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from hashneg import checks
from hashneg.adapters.jax import inputs
from hashneg.adapters.jax.encoder import Encoder
from hashneg.adapters.jax.operators import hamming_topk
from hashneg.backends.request import NO_DISTANCE, NO_INDEX
from hashneg.codes import width_of
from hashneg.hamming import TopK
from hashneg.quantize import BinaryQuantizer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CodeTable:
    """The codes of a whole training set as a pytree: `hashneg.CodeTable` in mode "live", for jitted training steps.

    `update` returns a new table. Inside a jitted step whose table is donated (``jax.jit(step, donate_argnums=...)``)
    XLA writes into the old one's memory. Checkpoints save it like any pytree.

    Attributes
    ----------
    codes : uint8 (n, ceil(n_bits / 8))
    versions : int32 (n,)
        The version of the table from which the code of each row stems; 0 for no code.
    version : int32 ()
        How often the table was written to.
    encoder : Encoder
    labels : int (n,) or None

    Notes
    -----
    Values are not checked. An id that is no row is left out of an update, and finds nothing.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, hashneg as hn
    >>> from hashneg.adapters.jax import CodeTable
    >>> x = jax.random.normal(jax.random.key(0), (1000, 32))
    >>> table = CodeTable.create(1000, hn.BinaryQuantizer(64).fit(x))
    >>> step = jax.jit(lambda table, ids, rows: table.update(ids, rows), donate_argnums=0)
    >>> for ids in jnp.arange(1000).reshape(10, 100):
    ...     table = step(table, ids, x[ids])
    >>> table.mine(jnp.arange(3), k=5).indices.shape
    (3, 5)
    """

    codes: Any
    versions: Any
    version: Any
    encoder: Encoder
    labels: Any = None

    @classmethod
    def create(cls, n: int, quantizer: BinaryQuantizer, *, labels: Any = None) -> CodeTable:
        """A table of n >= 1 rows without codes, for a fitted quantizer; see `hashneg.CodeTable`."""
        n, encoder = checks.integer(n, "n", minimum=1), Encoder.of(quantizer)
        return cls(
            jnp.zeros((n, width_of(encoder.n_bits)), jnp.uint8), jnp.zeros(n, jnp.int32), jnp.zeros((), jnp.int32),
            encoder, None if labels is None else inputs.integers(labels, "labels", (n,)),
        )  # fmt: skip

    @property
    def n_bits(self) -> int:
        return self.encoder.n_bits

    def __len__(self) -> int:
        return len(self.codes)

    def update(self, ids: Any, embeddings: Any) -> CodeTable:
        """The table with the codes of a training step: ids (m,), embeddings (m, d). Of repeated ids the last wins."""
        codes = self.encoder(jax.lax.stop_gradient(embeddings))
        ids = self._rows(inputs.integers(ids, "ids", (len(codes),)))
        order = jnp.argsort(ids, stable=True)
        ids = ids[order]
        is_last = jnp.append(ids[1:] != ids[:-1], True)[: len(ids)]
        target = jnp.where(is_last, ids, len(self))  # beyond the end: dropped
        version = self.version + 1
        return replace(
            self, version=version,
            codes=self.codes.at[target].set(codes[order], mode="drop"),
            versions=self.versions.at[target].set(version, mode="drop"),
        )  # fmt: skip

    def mine(self, ids: Any, k: int, *, exclude: Any = None, allow: Any = None, max_distance: Any = None) -> TopK:
        """The k nearest rows of the rows `ids`, int (m,), by their codes in the table.

        The row itself and those of its label are always excluded; `exclude`, `allow`, `max_distance` and what is
        returned are as in `hamming_topk`. Rows that have no code find nothing, and are not found.
        """
        rows = self._rows(ids)
        has_code = self.versions > 0
        allow = inputs.mask(allow, len(rows), len(self))
        if allow is None:
            allow = has_code
        else:
            allow &= has_code if allow.dtype == jnp.bool_ else jnp.packbits(has_code, bitorder="little")
        found = hamming_topk(
            _of(self.codes, rows), self.codes, k, n_bits=self.n_bits, query_ids=rows, exclude=exclude, allow=allow,
            query_labels=None if self.labels is None else _of(self.labels, rows), database_labels=self.labels,
            max_distance=max_distance,
        )  # fmt: skip
        known = _of(self.versions, rows)[:, None] > 0
        return TopK(jnp.where(known, found.distances, NO_DISTANCE), jnp.where(known, found.indices, NO_INDEX))

    def ages(self, ids: Any = None) -> jax.Array:
        """How many versions old the codes of the rows `ids` (default all) are; -1 for no code."""
        stamps = self.versions if ids is None else _of(self.versions, self._rows(ids))
        return jnp.where(stamps > 0, self.version - stamps, -1)

    def _rows(self, ids: Any) -> jax.Array:
        """Rows, with n for every id that is none: JAX takes a negative index from the end."""
        ids = inputs.integers(ids, "ids", (None,))
        return jnp.where((ids >= 0) & (ids < len(self)), ids, len(self))


def _of(values: jax.Array, rows: jax.Array) -> jax.Array:
    """The values of some rows; 0 for row n."""
    return values.at[rows].get(mode="fill", fill_value=0)
