"""NT-Xent: InfoNCE in which both views of every item are anchors and candidates."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.losses.nce import nce
from hashneg.namespaces import numerics
from hashneg.weights.pairs import two_views


def nt_xent(anchors: Any, positives: Any, negatives: Any = None, *, temperature: Any = 0.5, mask: Any = None) -> Any:
    """SimCLR's loss: each of the 2n views has the other 2n - 2 views of the batch for negatives.

    Parameters
    ----------
    anchors, positives : array, float (n, d)
        The two views; they may be exchanged.
    negatives : array, float (m, d) or (n, k, d), optional
        More negatives: shared, or those of the item, for both its views.
    temperature : float or 0-d array
        Above 0.
    mask : array, bool (m,) or (n, k), optional
        False where a row of `negatives` is padding.

    Returns
    -------
    array, float ()
        Mean over the 2n views.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    Chen, Kornblith, Norouzi & Hinton, *A simple framework for contrastive learning of visual representations*, ICML
    2020.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> views = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> bool(np.isclose(hn.losses.nt_xent(*views), hn.losses.nt_xent(*views[::-1])))
    True
    """
    pairs = two_views(anchors, positives, negatives, mask=mask)
    temperature = numerics.positive_number(temperature, "temperature", pairs.cosine)
    return namespaces.of(pairs.cosine).mean(nce(pairs, temperature))
