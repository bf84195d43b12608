"""Naturally-Sorted Hashing: sort latents by the Hamming distances of the codes, and contrast the head of each list."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.hashing.quantization import quantization as quantization_term
from hashneg.hashing.signs import stochastic_sign, straight_through_sign
from hashneg.hashing.similarity import hamming_similarity
from hashneg.losses import sorted_nce
from hashneg.namespaces import numerics


def nsh(
    activations: Any,
    latents: Any,
    other_activations: Any,
    other_latents: Any,
    *,
    m: int = 2,
    temperature: Any = 0.4,
    sort_temperature: Any = 0.1,
    quantization: float = 0.1,
    hard: bool = False,
    own_first: bool = True,
    uniform: Any = None,
) -> Any:
    """The loss of Naturally-Sorted Hashing for two augmented views of a batch.

    Item i's list holds the latents of the first view in the order of ``hamming_similarity(b1, b2)[i]``, and is
    contrasted with item i's latent of the second view by `hashneg.losses.sorted_nce`, whose gradient reaches the codes
    through the soft sort. The quantization term pulls the activations of both views to +-1.

    Parameters
    ----------
    activations, other_activations : array, float (n, n_bits)
        Outputs of the hash head for both views; the codes b1, b2 are their signs (straight-through).
    latents, other_latents : array, float (n, d)
        What the head reads, or a second head's output, for both views.
    m : int
        Positives at the head of each list, 1 <= m < n.
    temperature : float or 0-d array
        Of the contrast, above 0.
    sort_temperature : float or 0-d array
        Of the soft sort, in units of Hamming similarity (1/n_bits is one bit), above 0.
    quantization : float
        Factor of the quantization term, at least 0.
    hard : bool
        Sort exactly, with the gradient of the soft sort.
    own_first : bool
        Let every list begin with the item's own other view, whatever its distance. False sorts by distance alone; codes
        that have become equal then tie, all lists begin with the same items, and training does not recover.
    uniform : array, float (2, n, n_bits), optional
        Numbers in [0, 1): draw the signs of both views by `stochastic_sign` instead.

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Similarity, soft sort, lists and contrast follow the paper's pseudo-code as quoted in a public reproduction. That
    code's quantization term compares each code with its whole list, which cannot be meant; the usual squared
    distance to the signs stands here instead. `own_first`, temperatures and factors are ours: the paper's are not
    public. Memory is O(n^2 m), as only the first m places of each list are sorted softly.

    References
    ----------
    Yu et al., *Learning to hash naturally sorts*, IJCAI 2022, arXiv 2201.13322.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> rng = np.random.default_rng(0)
    >>> h, z = rng.standard_normal((8, 16)), rng.standard_normal((8, 32))
    >>> alike = hn.hashing.nsh(h, z, h, z)
    >>> bool(alike < hn.hashing.nsh(h, z, -h, rng.standard_normal((8, 32))))
    True
    """
    factor = checks.real(quantization, "quantization", minimum=0.0)
    if uniform is None:
        first, second = straight_through_sign(activations), straight_through_sign(other_activations)
    else:
        first, second = stochastic_sign(activations, uniform[0]), stochastic_sign(other_activations, uniform[1])
    scores = hamming_similarity(first, second)
    if own_first:
        rows = namespaces.arange(namespaces.length(scores, 0), scores)
        scores = scores + numerics.one_hot(rows, namespaces.length(scores, 1), scores)
    loss = sorted_nce(
        other_latents,
        latents,
        scores,
        m=m,
        temperature=temperature,
        sort_temperature=sort_temperature,
        hard=hard,
    )
    if factor:
        loss = loss + factor * (quantization_term(activations) + quantization_term(other_activations)) / 2
    return loss
