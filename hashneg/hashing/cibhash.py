"""CIBHash-style codes: a contrastive loss on sampled bits, which are kept from saying too much of one view."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.hashing.signs import stochastic_sign
from hashneg.losses import nt_xent


def cibhash(
    activations: Any,
    other_activations: Any,
    uniform: Any,
    *,
    temperature: Any = 0.3,
    bottleneck: float = 0.001,
) -> Any:
    """NT-Xent on stochastic codes of two views, plus an information bottleneck.

    Bits are drawn with probability p = 1/(1 + exp(-h)), with a straight-through gradient. The bottleneck is the
    Kullback-Leibler divergence of the bits' distributions in the two views, in both directions.

    Parameters
    ----------
    activations, other_activations : array, float (n, n_bits)
        h of both views.
    uniform : array, float (2, n, n_bits)
        Numbers in [0, 1), from the framework's own generator.
    temperature : float or 0-d array
        Above 0.
    bottleneck : float
        Factor of the divergence (the mean over items of the sum over bits), at least 0.

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    "Style": contrast of sampled codes with a straight-through gradient is the method; the divergence between the
    views and the two factors are from memory of the paper, not from its code.

    References
    ----------
    Qiu, Su, Ou, Yu & Chen, *Unsupervised hashing with contrastive information bottleneck*, IJCAI 2021.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> rng = np.random.default_rng(0)
    >>> h, uniform = rng.standard_normal((8, 16)), rng.random((2, 8, 16))
    >>> bool(hn.hashing.cibhash(4 * h, 4 * h, uniform) < hn.hashing.cibhash(4 * h, -4 * h, uniform))
    True
    """
    factor = checks.real(bottleneck, "bottleneck", minimum=0.0)
    first, second = stochastic_sign(activations, uniform[0]), stochastic_sign(other_activations, uniform[1])
    loss = nt_xent(first, second, temperature=temperature)
    if factor:
        xp, h, g = namespaces.floats("activations", activations, ("other_activations", other_activations))
        # KL(p|q) + KL(q|p) of Bernoulli bits with logits h and g: (p - q) (h - g)
        divergence = (xp.tanh(h / 2) - xp.tanh(g / 2)) / 2 * (h - g)
        loss = loss + factor * xp.mean(xp.sum(divergence, axis=-1)) / 2
    return loss
