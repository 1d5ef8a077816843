"""The one family of errors this package raises for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class FinercamError(ValueError):
    """Something given cannot be used. The message says what was given, what was expected and what to do."""


def check_between(what: str, number: float | int, low: float | int, high: float | int) -> None:
    """Refuse a number outside of what makes sense.

    Raises:
        FinercamError: it is below ``low`` or above ``high``, or not a number.
    """
    if not low <= number <= high:
        raise FinercamError(f"{what} is {number}; it must be at least {low} and at most {high}")


def nearest(given: str, choices: Iterable[str], n: int = 3, called: Mapping[str, str] | None = None) -> str:
    """Return the choices that look most like ``given``, as a phrase for the end of an error message.

    Args:
        given: what was asked for.
        choices: what there is.
        n: how many to name.
        called: other names of the choices, as a mapping from such a name to the choice.
    """
    choices = list(choices)
    by_name = {choice.casefold(): choice for choice in choices}
    by_name.update({name.casefold(): choice for name, choice in (called or {}).items()})
    # No name is longer, and comparing takes the square of its time.
    folded = given[:200].casefold()
    inside = [name for name in by_name if folded in name]
    close = difflib.get_close_matches(folded, by_name, n=2 * n, cutoff=0.5)
    found = list(dict.fromkeys(by_name[name] for name in (inside[:n] + close)))[:n]
    if found:
        return "did you mean " + ", ".join(repr(choice) for choice in found) + "?"
    shown = ", ".join(choices[:20])
    return f"choose from: {shown}" + (f" ... ({len(choices)} in all)" if len(choices) > 20 else "")
