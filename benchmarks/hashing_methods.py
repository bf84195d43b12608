"""The methods of the hashing experiment: from a trained encoder to the quantizer of its embeddings."""

from __future__ import annotations

import torch

import hashneg as hn
from benchmarks.hashing_encoder import DIM, Encoder, Images, Loss, contrast, copy_of, train
from hashneg.adapters.torch import HashHead, nsh_loss

FITTED = {"LSH": "orthogonal", "ITQ": "itq"}
LEARNED = ("bi-half", "CIBHash-style", "NSH")
METHODS = (*FITTED, *LEARNED)
_LEARNING_RATE = 1e-3
_TEMPERATURE = 0.3  # of the contrast of codes
NSH = {"m": 4, "temperature": 0.4, "sort_temperature": 0.1, "quantization": 0.1}


def continued(encoder: Encoder, images: Images, epochs: int, seed: int) -> Encoder:
    """The encoder after as many more epochs as the learned codes take, still with the loss of its embeddings."""
    encoder = copy_of(encoder)
    train(encoder, list(encoder.parameters()), contrast, images.database, epochs, seed, _LEARNING_RATE)
    return encoder


def fitted(method: str, n_bits: int, embeddings: torch.Tensor, seed: int) -> hn.BinaryQuantizer:
    """LSH or ITQ, centred at the mean."""
    return hn.BinaryQuantizer(n_bits, rotation=FITTED[method], seed=seed).fit(embeddings)


def learned(
    method: str, n_bits: int, encoder: Encoder, images: Images, epochs: int, seed: int
) -> tuple[Encoder, hn.BinaryQuantizer]:
    """A copy of the encoder, trained on together with a head that gives the bits, and the head as a quantizer.

    All methods see the same views in the same order. Thresholds are taken anew over the database: the median for
    bi-half, which splits its batches there, else the mean.
    """
    encoder = copy_of(encoder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HashHead(DIM, n_bits)
    parameters = [*encoder.parameters(), *head.parameters()]
    train(encoder, parameters, _loss(method, head, seed), images.database, epochs, seed, _LEARNING_RATE)
    weight = head.linear.weight.detach()
    outputs = encoder.embed(images.database) @ weight.T
    thresholds = outputs.median(dim=0).values if method == "bi-half" else outputs.mean(dim=0)
    return encoder, hn.BinaryQuantizer.from_projection(weight, thresholds)


def _loss(method: str, head: HashHead, seed: int) -> Loss:
    rng = torch.Generator().manual_seed(seed)  # of its own, so that the views stay the same

    def bi_half(view: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        codes, others = (hn.hashing.half_sign(head(x)) for x in (view, other))
        return hn.losses.nt_xent(codes, others, temperature=_TEMPERATURE)

    def cibhash(view: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(2, len(view), head.linear.out_features, generator=rng)
        return hn.hashing.cibhash(head(view), head(other), uniform, temperature=_TEMPERATURE)

    def nsh(view: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return nsh_loss(head, view, other, **NSH)

    return {"bi-half": bi_half, "CIBHash-style": cibhash, "NSH": nsh}[method]
