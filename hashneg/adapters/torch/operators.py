"""Packing and search as PyTorch operators, which torch.compile takes into its graphs as they are."""

# No `from __future__ import annotations`: torch.library reads the annotations.
from typing import Any

import torch

from hashneg import hamming
from hashneg.codes import Codes, width_of
from hashneg.hamming import TopK


@torch.library.custom_op("hashneg::pack_signs", mutates_args=())
def _pack(x: torch.Tensor) -> torch.Tensor:
    return Codes.from_signs(x).data if x.device.type == "cpu" else _packed_by_torch(x)


@_pack.register_fake
def _(x):
    return x.new_empty((x.shape[0], (x.shape[1] + 7) // 8), dtype=torch.uint8)


def _packed_by_torch(x: torch.Tensor) -> torch.Tensor:
    """The same with PyTorch's own operators, for devices."""
    n, n_bits = x.shape
    bits = torch.nn.functional.pad((x >= 0).to(torch.uint8), (0, -n_bits % 8))
    places = torch.arange(8, dtype=torch.uint8, device=x.device)
    return (bits.view(n, width_of(n_bits), 8) << places).sum(dim=2, dtype=torch.uint8)


def pack_signs(x: torch.Tensor) -> torch.Tensor:
    """Pack signs: bit i of a row is 1 where ``x[:, i] >= 0``, the low bit of a byte first.

    Parameters
    ----------
    x : tensor, float or signed integer (n, n_bits)
        NaN is refused on the CPU, and packed as 0 elsewhere.

    Returns
    -------
    tensor, uint8 (n, ceil(n_bits / 8))
        On the device of `x`. It has no gradient.

    Examples
    --------
    >>> import torch
    >>> from hashneg.adapters.torch import pack_signs
    >>> pack_signs(torch.tensor([[1.0, -1.0, 0.5]]))
    tensor([[5]], dtype=torch.uint8)
    """
    return _pack(x)


@torch.library.custom_op("hashneg::hamming_topk", mutates_args=())
def _topk(
    queries: torch.Tensor,
    database: torch.Tensor,
    n_bits: int,
    k: int,
    query_ids: torch.Tensor | None = None,
    query_labels: torch.Tensor | None = None,
    database_labels: torch.Tensor | None = None,
    exclude: torch.Tensor | None = None,
    allow: torch.Tensor | None = None,
    max_distance: int | None = None,
    metric: str = "hamming",
) -> tuple[torch.Tensor, torch.Tensor]:
    found = hamming.hamming_topk(
        Codes(queries, n_bits), Codes(database, n_bits), k, query_ids=query_ids, query_labels=query_labels,
        database_labels=database_labels, exclude=exclude, allow=allow, max_distance=max_distance, metric=metric,
    )  # fmt: skip
    return found.distances, found.indices


@_topk.register_fake
def _(queries, database, n_bits, k, *options, **more):
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape, dtype=torch.int64)


def hamming_topk(
    queries: torch.Tensor, database: torch.Tensor, k: int, *, n_bits: int | None = None, **options: Any
) -> TopK:
    """The k nearest database rows of every query, as an operator that compiles; see `hashneg.hamming_topk`.

    Parameters
    ----------
    queries, database : tensor, uint8 (nq, width), (n, width)
    k : int
    n_bits : int, optional
        8 x width by default.
    **options
        query_ids, query_labels, database_labels, exclude, allow (tensors), max_distance (int) and metric (str).

    Returns
    -------
    TopK
        distances int32 (nq, k), indices int64 (nq, k).

    Examples
    --------
    >>> import torch
    >>> from hashneg.adapters.torch import hamming_topk, pack_signs
    >>> codes = pack_signs(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))
    >>> hamming_topk(codes, codes, 1, n_bits=2, query_ids=torch.arange(3)).indices.T
    tensor([[1, 0, 1]])
    """
    return TopK(*_topk(queries, database, 8 * queries.shape[1] if n_bits is None else n_bits, k, **options))
