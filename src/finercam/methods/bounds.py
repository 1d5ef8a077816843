"""Parameters out of range, refused in one way."""

from __future__ import annotations

from finercam.errors import FinercamError


def refuse_outside(
    method: str, name: str, value: float | int, least: float | int, most: float | int, of: str = ""
) -> None:
    """Raise unless a parameter lies between two bounds, both allowed.

    Args:
        method, name: whose parameter, and which.
        value: what was given; NaN lies nowhere.
        least, most: the bounds. Whole numbers are asked for where both are of type ``int``.
        of: what the number is, where that is not plain: ``" of the image's side"``.

    Raises:
        FinercamError: it does not.
    """
    if not least <= value <= most:
        kind = "a whole number" if isinstance(least, int) and isinstance(most, int) else "a number"
        raise FinercamError(f"{method}: {name} is {value}; give {kind} from {least} to {most}{of}")
