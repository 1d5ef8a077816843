"""The options of a contrast, as functions with many keyword arguments take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from finercam.contrast.contrast import Contrast
from finercam.contrast.objective import Objective
from finercam.errors import FinercamError, nearest

Weighting: TypeAlias = Literal["mean", "softmax", "official"]
Aggregate: TypeAlias = Literal["mean", "max", "mean-after-relu"]
#: What a contrast's options are called, for functions that take them.
OPTIONS = ("against", "references", "gamma", "weighting", "aggregate", "reverse", "rank")


def contrast_from(contrast: Contrast | Objective | None, **options: Any) -> Contrast | Objective:
    """Return the contrast that was given, or the one that its options make; ``None`` is an option not given.

    Raises:
        FinercamError: both were given.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if contrast is None:
        return Contrast(**given)
    if given:
        raise FinercamError(f"give either contrast= or its options, not both ({', '.join(given)})")
    return contrast


def refuse_unknown(function: Callable[..., Any], unknown: Iterable[str], known: Iterable[str]) -> None:
    """Raise if there are keyword arguments that a function does not take; name the one most like each.

    Raises:
        FinercamError: there are.
    """
    for name in unknown:
        raise FinercamError(f"{function.__name__}() has no option {name!r}; {nearest(name, known)}")
