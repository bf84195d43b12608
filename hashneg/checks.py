"""Checks of plain arguments: each error names the argument, what came, and the rule."""

from __future__ import annotations

import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import Any, NamedTuple


def integer(value: Any, name: str, *, minimum: int | None = None) -> int:
    """Return `value` as an int; TypeError for anything that is not integral, ValueError below `minimum`."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got the bool {value!r}")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}") from None
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return value


def real(value: Any, name: str, *, minimum: float | None = None, maximum: float | None = None) -> float:
    """Return `value` as a float within the closed range; NaN is refused."""
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
    if number != number:
        raise ValueError(f"{name} must not be NaN")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {number}")
    return number


def choice(value: Any, name: str, allowed: Sequence[str | None]) -> Any:
    """Return `value` if it is one of `allowed`."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be one of {list(allowed)}, got {type(value).__name__} {value!r}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")
    return value


def values_are_checked() -> bool:
    """Whether array values (NaN, padding bits, id ranges) are checked: not under ``HASHNEG_CHECK=0``."""
    return os.environ.get("HASHNEG_CHECK", "1") != "0" and not _checked_before.get()


_checked_before: ContextVar[bool] = ContextVar("_checked_before", default=False)


@contextmanager
def checked_before() -> Iterator[None]:
    """Within it no values are checked, since the caller has done it."""
    token = _checked_before.set(True)
    try:
        yield
    finally:
        _checked_before.reset(token)


class ValueCheck(NamedTuple):
    """A check of values whose outcome may still lie on a device.

    Attributes
    ----------
    wrong : bool, or such an array of no dimensions
    explain : raises if it was this check that failed
    """

    wrong: Any
    explain: Callable[[], None]


def settle(*made: ValueCheck | None) -> None:
    """Raise what the first failed check explains. Of a device, the host reads one flag for all of them."""
    some = [check for check in made if check is not None]
    if some and reduce(operator.or_, (check.wrong for check in some)):
        for check in some:
            check.explain()


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and point at the caller's line: the first one outside this package."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
