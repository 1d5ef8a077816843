"""A painted part: where it covers the picture and what it looks like there, before anything is in front of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finercam.aviary.anatomy import Anatomy
from finercam.aviary.palette import COLOURS, times
from finercam.aviary.shapes import Colour, Picture, Plane, Window
from finercam.aviary.species import PARTS

# A light's colour and its absence: shaded plumage is cooler than lit plumage.
_DARK: Colour = (0.50, 0.53, 0.60)
_LIT: Colour = (1.06, 1.05, 1.00)


@dataclass(frozen=True)
class Layer:
    """A part, or one of several strokes of it. ``part`` is None for a shadow, which belongs to no mask."""

    part: str | None
    window: Window
    alpha: Plane
    paint: Picture


def tinted(bird: Anatomy, part: str, name: str) -> Colour:
    """Return a named colour as this individual wears it on this part: a little lighter, darker, warmer or cooler."""
    light, red, blue = bird.pose.tints[PARTS.index(part)]
    return times(COLOURS[name], (light * red, light, light * blue))


def lit(colour: Colour, light: Plane, tone: Plane | None = None) -> Picture:
    """Paint a colour under light from -1 to 1 (n . l), times an optional tone."""
    level = light * 0.62 + 0.38
    np.clip(level, 0.0, 1.0, out=level)
    dark = np.array(times(colour, _DARK), np.float32)[:, None, None]
    span = np.array(times(colour, _LIT), np.float32)[:, None, None] - dark
    out = span * level
    out += dark
    if tone is not None:
        out *= tone
    return out
