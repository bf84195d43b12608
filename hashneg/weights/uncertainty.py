"""Model uncertainty: how alike two items' last-layer gradients are, without computing a gradient."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe


def gradient_similarity(residuals: Any, features: Any, other_residuals: Any, other_features: Any) -> Any:
    """Inner products of last-layer gradients, in closed form.

    The gradient of a cross entropy with respect to the last layer's weights is the outer product of p - y
    (predicted minus target probabilities) and the layer's input h. So ``<g_i, g_j> = <p_i - y_i, p_j - y_j> <h_i,
    h_j>``.

    Parameters
    ----------
    residuals : array, float (n, c)
        p - y of each item.
    features : array, float (n, d)
        h of each item.
    other_residuals, other_features : array, float (m, c) and (m, d), or (n, m, c) and (n, m, d)
        Of the items to compare with; shared, or each row's own.

    Returns
    -------
    array, float (n, m)

    Raises
    ------
    TypeError, ValueError
        If the arrays are no floats of one framework or their shapes do not fit.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> p_minus_y, h = np.array([[0.3, -0.3], [-0.2, 0.2]]), np.array([[1.0, 2.0], [1.0, 0.0]])
    >>> hn.weights.gradient_similarity(p_minus_y, h, p_minus_y, h).round(2)
    array([[ 0.9 , -0.12],
           [-0.12,  0.08]])
    """
    _, p, h, p_other, h_other = namespaces.floats(
        "residuals",
        residuals,
        ("features", features),
        ("other_residuals", other_residuals),
        ("other_features", other_features),
    )
    for ours, others, named in ((p, p_other, other_residuals), (h, h_other, other_features)):
        if len(ours.shape) != 2 or len(others.shape) not in (2, 3) or ours.shape[-1] != others.shape[-1]:
            raise ValueError(f"expected (n, c) and (m, c) or (n, m, c), got {tuple(ours.shape)} and {describe(named)}")
    return products(p, p_other) * products(h, h_other)


def products(a: Any, b: Any) -> Any:
    """Inner products of rows (n, d) with rows (m, d), or with each row's own (n, m, d)."""
    if len(b.shape) == 2:
        return namespaces.matmul(a, namespaces.of(b).matrix_transpose(b))
    return namespaces.matmul(b, a[..., None])[..., 0]
