"""The one family of errors this package raises for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FinercamError(ValueError):
    """Something given cannot be used. The message says what was given, what was expected and what to do."""


def nearest(given: str, choices: Iterable[str], n: int = 3) -> str:
    """Return the ``n`` choices that look most like ``given``, as a phrase for the end of an error message."""
    choices = list(choices)
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = given.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=n, cutoff=0.5)
    inside = [choice for choice in by_folded if folded in choice and choice not in close]
    found = [by_folded[choice] for choice in (inside + close)[:n]]
    if found:
        return "did you mean " + ", ".join(repr(choice) for choice in found) + "?"
    shown = ", ".join(choices[:20])
    return f"choose from: {shown}" + (f" ... ({len(choices)} in all)" if len(choices) > 20 else "")
