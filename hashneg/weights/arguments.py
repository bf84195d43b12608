"""The arguments that all weights of given similarities share."""

from __future__ import annotations

from typing import Any

from hashneg import namespaces
from hashneg.arrays import describe, framework_of


def checked(similarities: Any, mask: Any = None, positive: Any = None) -> tuple[Any, Any, Any, Any]:
    """Namespace, similarities and positive in working precision, and the mask."""
    named = [] if positive is None else [("positive", positive)]
    xp, s, *rest = namespaces.floats("similarities", similarities, *named)
    if not s.shape:
        raise ValueError(f"similarities must have shape (..., c), got {describe(similarities)}")
    if mask is not None:
        if framework_of(mask) != framework_of(similarities) or namespaces.dtype_name(mask) != "bool":
            raise TypeError(f"mask must hold bools in the framework of similarities, got {describe(mask)}")
        if len(mask.shape) != len(s.shape):
            raise ValueError(f"mask must have shape {tuple(s.shape)}, got {describe(mask)}")
    if rest and len(rest[0].shape) != len(s.shape) - 1:
        raise ValueError(f"positive must have shape {tuple(s.shape[:-1])}, got {describe(positive)}")
    return xp, s, mask, rest[0] if rest else None
