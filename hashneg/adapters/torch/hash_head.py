"""A head that learns its bits, and the loss of Naturally-Sorted Hashing for it."""

from __future__ import annotations

from typing import Any

import torch

from hashneg import checks, hashing
from hashneg.quantize import BinaryQuantizer


class HashHead(torch.nn.Module):
    """A linear layer whose outputs' signs are the bits; after training it becomes a quantizer.

    Parameters
    ----------
    dim : int
        d of the embeddings.
    n_bits : int
    norm : bool
        Normalise every output over the batch instead of adding a bias: the bits stay balanced, and cannot all become
        equal. In evaluation mode the running mean takes the place of the batch's.

    Notes
    -----
    The head gives activations, and losses take their signs: `nsh_loss` here, `hashneg.hashing.cibhash`, or
    `hashneg.hashing.half_sign` of the activations. Like `BinaryQuantizer` it uses rows as given. Train it on rows of
    length 1 where its codes are to serve mining, which L2-normalises embeddings before it quantizes them.

    Examples
    --------
    >>> import torch, hashneg as hn
    >>> from hashneg.adapters.torch import HashHead
    >>> x = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    >>> head = HashHead(16, 32)
    >>> activations = head(x)  # training mode: normalised over these rows
    >>> head.eval().quantizer().encode(x)
    Codes(100 x 32 bits, torch)
    """

    def __init__(self, dim: int, n_bits: int, *, norm: bool = True) -> None:
        super().__init__()
        dim, n_bits = checks.integer(dim, "dim", minimum=1), checks.integer(n_bits, "n_bits", minimum=1)
        self.linear = torch.nn.Linear(dim, n_bits, bias=not norm)
        self.norm = torch.nn.BatchNorm1d(n_bits, affine=False) if norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations, float (n, n_bits), of embeddings (n, d); bit i is 1 where activation i is at least 0."""
        activations = self.linear(x)
        return activations if self.norm is None else self.norm(activations)

    def quantizer(self) -> BinaryQuantizer:
        """The head as it is now, as a quantizer whose bits are the signs of the head in evaluation mode.

        The normalisation is folded into the thresholds: (W x - mean) / deviation >= 0 where W x >= mean.
        """
        thresholds = self.norm.running_mean if self.norm is not None else -self.linear.bias
        return BinaryQuantizer.from_projection(*(x.detach().cpu() for x in (self.linear.weight, thresholds)))


def nsh_loss(
    head: torch.nn.Module,
    embeddings: torch.Tensor,
    other_embeddings: torch.Tensor,
    *,
    stochastic: bool = False,
    generator: torch.Generator | None = None,
    **options: Any,
) -> torch.Tensor:
    """`hashneg.hashing.nsh` of a head that reads two augmented views of a batch.

    Parameters
    ----------
    head : module
        Embeddings (n, d) to activations (n, n_bits): `HashHead`, or one of your own.
    embeddings, other_embeddings : tensor, float (n, d)
        The encoder's outputs for both views, which are also the latents that are sorted. The gradient reaches the
        encoder through them; ``detach()`` them to train the head alone.
    stochastic : bool
        Draw the signs with probability 1/(1 + exp(-h)) instead of taking those of the activations h.
    generator : torch.Generator, optional
        Of the draw; PyTorch's default one if left out.
    **options
        m, temperature, sort_temperature, quantization, hard and own_first.

    Returns
    -------
    tensor, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Yu et al., *Learning to hash naturally sorts*, IJCAI 2022, arXiv 2201.13322.

    Examples
    --------
    A training step:

    >>> import torch
    >>> from hashneg.adapters.torch import HashHead, nsh_loss
    >>> encoder, head = torch.nn.Linear(20, 16), HashHead(16, 32)
    >>> optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
    >>> images = torch.rand(64, 20)
    >>> view, other = (images + 0.1 * torch.randn(64, 20) for _ in range(2))
    >>> loss = nsh_loss(head, encoder(view), encoder(other), m=4)
    >>> optimizer.zero_grad()
    >>> loss.backward()
    >>> optimizer.step()
    """
    h, g = head(embeddings), head(other_embeddings)
    uniform = torch.rand(2, *h.shape, dtype=h.dtype, device=h.device, generator=generator) if stochastic else None
    return hashing.nsh(h, embeddings, g, other_embeddings, uniform=uniform, **options)
