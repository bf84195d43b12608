"""A fitted quantizer as a module, and the sign with a gradient."""

from __future__ import annotations

import numpy as np
import torch

from hashneg.adapters.torch.operators import pack_signs
from hashneg.quantize import BinaryQuantizer


class Encoder(torch.nn.Module):
    """A fitted quantizer as the last step of a model: embeddings in, packed codes out, on the model's device.

    Parameters
    ----------
    quantizer : BinaryQuantizer
        Fitted. Its rotation and thresholds become float64 buffers, cast to float32 for inputs other than float64.

    Notes
    -----
    The codes are those of ``quantizer.encode`` but for bits that lie within rounding of their threshold: up to
    ``4 (d + 2) u (|R_i| |x| + |c_i|)``, u = 2**-24, or 2**-53 for float64 input.

    Examples
    --------
    >>> import torch, hashneg as hn
    >>> from hashneg.adapters.torch import Encoder
    >>> x = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    >>> encode = Encoder(hn.BinaryQuantizer(32).fit(x))
    >>> encode(x).shape
    torch.Size([100, 4])
    """

    def __init__(self, quantizer: BinaryQuantizer) -> None:
        super().__init__()
        thresholds = quantizer.thresholds
        assert quantizer.dim is not None
        rotation = (quantizer.project(np.eye(quantizer.dim)) + thresholds).T
        self.register_buffer("rotation", torch.from_numpy(np.ascontiguousarray(rotation)))
        self.register_buffer("thresholds", torch.from_numpy(thresholds))

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """R x - c, (n, n_bits), float32 or for float64 input float64; with a gradient."""
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        return torch.nn.functional.linear(x.to(dtype), self.rotation.to(dtype)) - self.thresholds.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Codes, uint8 (n, ceil(n_bits / 8)), of embeddings (n, d)."""
        return pack_signs(self.project(x).detach())


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, clip):
        return torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x))

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.clip = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return (gradient if ctx.clip is None else gradient * (x.abs() <= ctx.clip)), None


def straight_through_sign(x: torch.Tensor, clip: float | None = None) -> torch.Tensor:
    """The sign, +1 where x >= 0 and else -1, whose gradient is that of the identity.

    Parameters
    ----------
    x : tensor, float
    clip : float, optional
        No gradient where ``abs(x) > clip``; 1.0 gives that of the hard tanh.

    Returns
    -------
    tensor
        Of the shape and dtype of `x`.

    References
    ----------
    Straight-through estimator: Bengio, Leonard & Courville, arXiv 1308.3432. Clipped: arXiv 1602.02830.

    Examples
    --------
    >>> import torch
    >>> from hashneg.adapters.torch import straight_through_sign
    >>> x = torch.tensor([-2.0, -0.0, 0.5], requires_grad=True)
    >>> signs = straight_through_sign(x, clip=1.0)
    >>> (signs * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    >>> signs.tolist(), x.grad.tolist()
    ([-1.0, 1.0, 1.0], [0.0, 2.0, 3.0])
    """
    return _StraightThrough.apply(x, clip)
