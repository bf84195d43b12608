"""SortedNCE: the first m places of a soft-sorted list are positives, one at a time, against all later places."""

from __future__ import annotations

from typing import Any

from hashneg import checks, namespaces
from hashneg.arrays import describe
from hashneg.namespaces import numerics
from hashneg.sorting import softsort, sorted_gather
from hashneg.sorting.order import descending
from hashneg.sorting.softsort import unscaled_rows
from hashneg.weights.pairs import same_shape


def sorted_nce(
    anchors: Any,
    candidates: Any,
    scores: Any,
    *,
    m: int = 2,
    temperature: Any = 0.1,
    sort_temperature: Any = 0.1,
    hard: bool = False,
) -> Any:
    """InfoNCE over each anchor's list of candidates, sorted by `scores` in descending order.

    With c_k the cosine of an anchor with the k-th of its list, counted from 0, the mean over anchors and over k < m of
    ``-log(e^(c_k/t) / (e^(c_k/t) + sum_{j >= m} e^(c_j/t)))``.

    Only the m positives are sorted softly, which carries the gradient to the scores; the places from m on are a
    set, and their candidates are taken as they are. That is the value of the full form where the permutation is
    hard, at a memory of O(n c m) instead of O(n c^2).

    Parameters
    ----------
    anchors : array, float (n, d)
    candidates : array, float (c, d)
    scores : array, float (n, c)
        What the lists are sorted by, for example `hashneg.hashing.hamming_similarity` of two views' codes.
    m : int
        Positives of each list, 1 <= m < c.
    temperature : float or 0-d array
        t, above 0.
    sort_temperature : float or 0-d array
        Of the soft sort, in the units of the scores, above 0.
    hard : bool
        Sort exactly, with the gradient of the soft sort (straight-through).

    Returns
    -------
    array, float ()

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The m-positive loss follows the pseudo-code of the paper as quoted in a public reproduction; the paper's own
    code and its temperatures are not public, so the defaults here are ours. So are the normalisation of the
    candidates before they are mixed, and the tail as a set.

    References
    ----------
    Yu et al., *Learning to hash naturally sorts*, IJCAI 2022, arXiv 2201.13322.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> latents = np.eye(4)
    >>> scores = latents + 0.5 * np.roll(latents, 1, axis=1)
    >>> loss = hn.losses.sorted_nce(latents, latents, scores, m=1, temperature=1.0, hard=True)
    >>> bool(np.isclose(loss, hn.losses.info_nce(latents, latents, temperature=1.0)))
    True
    """
    xp, a, z, s = namespaces.floats("anchors", anchors, ("candidates", candidates), ("scores", scores))
    if len(a.shape) != 2 or not same_shape(z.shape, (None, a.shape[1])):
        raise ValueError(
            f"anchors (n, d) and candidates (c, d) must share d, got {describe(anchors)} and {describe(candidates)}"
        )
    if not same_shape(s.shape, (a.shape[0], z.shape[0])):
        raise ValueError(f"scores must have shape ({a.shape[0]}, {z.shape[0]}), got {describe(scores)}")
    m = checks.integer(m, "m", minimum=1)
    if z.shape[0] is not None and m >= z.shape[0]:
        raise ValueError(f"m={m} positives leave no negative among c={z.shape[0]} candidates")
    temperature = numerics.positive_number(temperature, "temperature", a)
    sort_temperature = numerics.positive_number(sort_temperature, "sort_temperature", s)
    order = descending(s)
    if hard:
        rows = softsort(s, sort_temperature, m=m, hard=True)
    else:  # a mixture's length plays no part in its cosine
        rows = unscaled_rows(s, order[:, :m], sort_temperature)
    a, z = numerics.unit_rows(a), numerics.unit_rows(z)
    first = numerics.unit_rows(sorted_gather(rows, z))
    positive = xp.sum(first * a[:, None, :], axis=-1) / temperature
    rank = xp.argsort(order, axis=-1, descending=False, stable=True)
    logits = namespaces.matmul(a, xp.matrix_transpose(z)) / temperature
    tail = numerics.logsumexp(numerics.masked(logits, rank >= m))
    return xp.mean(numerics.softplus(tail[:, None] - positive))
