"""A bird from its parts: layers in painting order, and which part is seen at each pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int8

from finercam.aviary import limbs, torso
from finercam.aviary.anatomy import Anatomy
from finercam.aviary.layers import Layer
from finercam.aviary.shapes import Picture, lay_picture
from finercam.aviary.species import PARTS, Species
from finercam.aviary.torso import Torso

_ON_TORSO: dict[str, Callable[[Anatomy, Torso, Species], list[Layer]]] = {
    "body": torso.body,
    "belly": torso.belly,
    "breast": torso.breast,
    "head": torso.head,
    "crown": torso.crown,
    "eye_line": torso.eye_line,
    "throat": torso.throat,
}
_LIMBS: dict[str, Callable[[Anatomy, Species], list[Layer]]] = {
    "tail": limbs.tail,
    "legs": limbs.legs,
    "wing": limbs.wing,
    "wing_bar": limbs.wing_bar,
    "crest": limbs.crest,
    "beak": limbs.beak,
    "eye_ring": limbs.eye_ring,
    "eye": limbs.eye,
}


def draw_part(bird: Anatomy, on: Torso, species: Species, part: str) -> list[Layer]:
    """Draw one part; an empty list where the species does not have it."""
    if part in _ON_TORSO:
        return _ON_TORSO[part](bird, on, species)
    return _LIMBS[part](bird, species)


def draw_parts(bird: Anatomy, on: Torso, species: Species) -> dict[str, list[Layer]]:
    """Draw all parts, in painting order."""
    return {part: draw_part(bird, on, species, part) for part in PARTS}


def paint(picture: Picture, parts: dict[str, list[Layer]]) -> None:
    """Lay the parts over the picture, in place."""
    for layers in parts.values():
        for layer in layers:
            lay_picture(picture, layer.window, layer.alpha, layer.paint)


def seen(parts: dict[str, list[Layer]], size: int) -> Int8[np.ndarray, "size size"]:
    """Return the part seen at each pixel, as its place in PARTS; -1 where there is none.

    A pixel shows the last painted part that covers at least half of it.
    """
    which = np.full((size, size), -1, np.int8)
    for number, part in enumerate(PARTS):
        for layer in parts[part]:
            if layer.part is not None and not layer.window.empty:
                which[layer.window.slices][layer.alpha >= 0.5] = number
    return which


def touched(
    parts: dict[str, list[Layer]], of: tuple[str, ...], front: list[Layer], size: int
) -> Bool[np.ndarray, "size size"]:
    """Return every pixel on which the parts ``of`` leave a trace, however faint, under all that is painted later."""
    out = np.zeros((size, size), np.bool_)
    later = [(part in of, layer) for part in PARTS for layer in parts[part]] + [(False, layer) for layer in front]
    for counts, layer in later:
        if layer.window.empty:
            continue
        here = out[layer.window.slices]
        if counts:
            here |= layer.alpha > 0.0
        else:
            here &= layer.alpha < 1.0
    return out
