"""The methods of the hashing experiment: from embeddings of a frozen encoder to a quantizer."""

from __future__ import annotations

import torch

import hashneg as hn
from benchmarks.hashing_encoder import DIM, Embedded, minimize
from hashneg.adapters.torch import HashHead, nsh_loss

FITTED = {"LSH": "orthogonal", "ITQ": "itq"}
METHODS = (*FITTED, "bi-half", "CIBHash-style", "NSH")
_EPOCHS = 3
_LEARNING_RATE = 1e-2
_TEMPERATURE = 0.3  # of the contrast of codes
_NSH = {"m": 2, "temperature": 0.4, "sort_temperature": 0.3, "quantization": 3.0}


def quantizer(method: str, n_bits: int, embedded: Embedded, seed: int) -> hn.BinaryQuantizer:
    """The quantizer that a method fits or learns; its thresholds are means over the database, or bi-half's medians."""
    if method in FITTED:
        return hn.BinaryQuantizer(n_bits, rotation=FITTED[method], seed=seed).fit(embedded.database)
    weight = learned(method, n_bits, embedded.views, seed).linear.weight.detach()
    outputs = embedded.database @ weight.T
    thresholds = outputs.median(dim=0).values if method == "bi-half" else outputs.mean(dim=0)
    return hn.BinaryQuantizer.from_projection(weight, thresholds)


def learned(method: str, n_bits: int, views: torch.Tensor, seed: int) -> HashHead:
    """A head trained on pairs of views, the same batches for every method."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HashHead(DIM, n_bits)
    rng, draws = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        first, second = torch.randperm(len(views), generator=rng)[:2].tolist()
        view, other = views[first, rows], views[second, rows]
        if method == "NSH":
            return nsh_loss(head, view, other, generator=draws, **_NSH)
        if method == "CIBHash-style":
            uniform = torch.rand(2, len(rows), n_bits, generator=draws)
            return hn.hashing.cibhash(head(view), head(other), uniform, temperature=_TEMPERATURE)
        codes, others = (hn.hashing.half_sign(head(x)) for x in (view, other))
        return hn.losses.nt_xent(codes, others, temperature=_TEMPERATURE)

    minimize(loss, head, views.shape[1], _EPOCHS, _LEARNING_RATE, rng)
    return head
