"""The one family of errors this package raises for what a user can put right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

#: How alike a name must be to be offered (difflib's ratio), and how much less alike than the one most like it.
_ALIKE, _LESS = 0.65, 0.1


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
    """Return the choices that look much like ``given``, as a phrase for the end of an error message; else all of them.

    A choice is alike if it differs in a few letters, or has a word that begins as ``given`` does.

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
    begins = re.compile(rf"(?<![^\W_]){re.escape(folded)}")
    inside = [name for name in by_name if len(folded) > 1 and begins.search(name)]
    close = difflib.get_close_matches(folded, by_name, n=2 * n, cutoff=_ALIKE)
    ratios = [difflib.SequenceMatcher(None, name, folded).ratio() for name in close]
    close = [name for name, ratio in zip(close, ratios, strict=True) if ratio >= ratios[0] - _LESS]
    found = list(dict.fromkeys(by_name[name] for name in (inside[:n] + close)))[:n]
    if found:
        return "did you mean " + ", ".join(repr(choice) for choice in found) + "?"
    # Of a thousand names a few say what they are like; twenty would say no more.
    shown = choices[: 20 if len(choices) <= 100 else 5]
    rest = f" ... ({len(choices)} in all)" if len(choices) > len(shown) else ""
    return f"choose from: {', '.join(shown)}{rest}"
