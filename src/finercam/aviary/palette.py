"""Named colours of plumage, bills and legs, and small sums on colours (sRGB, 0..1)."""

from __future__ import annotations

from finercam.aviary.shapes import Colour

_HEX = {
    "white": "f1efe6",
    "cream": "ecdcb4",
    "buff": "d3b07d",
    "gold": "f2bd2b",
    "orange": "ec7424",
    "rust": "b8532a",
    "chestnut": "7d4029",
    "brown": "6d5238",
    "scarlet": "cf2b2b",
    "coral": "ea5a48",
    "rose": "e58a97",
    "violet": "7c4fa6",
    "navy": "2c3a70",
    "azure": "3f86cf",
    "teal": "1f8d8e",
    "green": "4c9a3f",
    "olive": "7d7a3e",
    "grey": "8d939b",
    "slate": "525e6c",
    "black": "25252b",
}

COLOURS: dict[str, Colour] = {
    name: (int(code[:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:], 16) / 255) for name, code in _HEX.items()
}
"""Every colour a part can have, by the name that attributes and captions use."""


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """Return ``a`` moved the fraction ``t`` towards ``b``."""
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


def times(a: Colour, by: Colour | float) -> Colour:
    """Return ``a`` scaled, by one factor or one for each channel."""
    r, g, b = by if isinstance(by, tuple) else (by, by, by)
    return a[0] * r, a[1] * g, a[2] * b


def rgb(code: str) -> Colour:
    """Return the colour of a six-digit hex code."""
    return int(code[:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:], 16) / 255
