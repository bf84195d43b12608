"""HCL: InfoNCE over negatives tilted to the hard ones and corrected for unmarked positives."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.losses.nce import nce
from hashneg.namespaces import numerics
from hashneg.weights.hcl import log_weights
from hashneg.weights.pairs import two_views


def hcl(
    anchors: Any,
    positives: Any,
    negatives: Any = None,
    *,
    temperature: Any = 0.5,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    mask: Any = None,
) -> Any:
    """Hard contrastive loss: NT-Xent whose sum over the negatives is replaced by an estimate.

    For an anchor with N negatives, neg_j = e^(cosine_j/t), pos = e^(cosine+/t)::

        R    = sum_j(neg_j^beta neg_j) / mean_j(neg_j^beta)
        Ng   = max((R - tau_plus N pos) / (1 - tau_plus), N e^(-1/t))
        loss = -log(pos / (pos + Ng))

    All in logarithms, so that a temperature of 0.01 overflows nothing. The weights neg^beta are differentiated too.

    Parameters
    ----------
    anchors, positives : array, float (n, d)
        Two views of each item; all 2n are anchors, and an anchor's negatives are the other 2n - 2.
    negatives : array, float (m, d) or (n, k, d), optional
        More negatives: shared, or those of the item, for both its views.
    temperature : float or 0-d array
        t, above 0.
    beta : float
        How much harder negatives count more, at least 0; 0 is the debiased loss.
    tau_plus : float
        In [0, 1): the assumed share of positives among the negatives. With beta = 0 and tau_plus = 0 this is NT-Xent.
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
    Robinson, Chuang, Sra & Jegelka, *Contrastive learning with hard negative samples*, ICLR 2021, in the form of the
    authors' code (image experiments).

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> views = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> bool(np.isclose(hn.losses.hcl(*views, beta=0, tau_plus=0), hn.losses.nt_xent(*views)))
    True
    """
    pairs = two_views(anchors, positives, negatives, mask=mask)
    temperature = numerics.positive_number(temperature, "temperature", pairs.cosine)
    log_w = log_weights(pairs.cosine, temperature, beta, pairs.mask, pairs.positive, tau_plus)
    return namespaces.of(pairs.cosine).mean(nce(pairs, temperature, log_w))


def debiased(
    anchors: Any,
    positives: Any,
    negatives: Any = None,
    *,
    temperature: Any = 0.5,
    tau_plus: float = 0.1,
    mask: Any = None,
) -> Any:
    """Debiased contrastive loss: `hcl` with beta = 0, so that all negatives count alike.

    Parameters, returns and errors are those of `hcl`.

    References
    ----------
    Chuang, Robinson, Lin, Torralba & Jegelka, *Debiased contrastive learning*, NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> views = np.random.default_rng(0).standard_normal((2, 8, 16))
    >>> bool(hn.losses.debiased(*views) < hn.losses.nt_xent(*views))
    True
    """
    return hcl(anchors, positives, negatives, temperature=temperature, beta=0.0, tau_plus=tau_plus, mask=mask)
