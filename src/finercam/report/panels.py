"""Panels side by side, or one below the other: each a picture with a heading, a scale, and lines of small print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from finercam.report.fonts import wrapped
from finercam.report.render import colours
from finercam.report.sheet import Line, Placed, Sheet, right_aligned

_MARGIN, _GAP, _INK, _FAINT = 16, 16, "#1c1c1c", "#6b6b6b"
#: No column is narrower, for the sake of its text.
_NARROWEST = 200


@dataclass(frozen=True)
class Bar:
    """The scale of a map: colours from 0 to ``top``, with the map's own peak marked."""

    top: float
    peak: float


@dataclass(frozen=True)
class Panel:
    """One picture, what stands over it, its scale, and the lines under it."""

    picture: Image.Image
    heading: str
    lines: Sequence[str] = ()
    bar: Bar | None = None


def rounded(value: float) -> str:
    """Return a number with three digits, and without an exponent below a million: ``0.0435``, ``3370``."""
    return f"{float(f'{value:.3g}'):g}"


def draw_panels(panels: Sequence[Panel], title: str = "", height: int = 360) -> Image.Image:
    """Return the panels side by side, all of one height, under a title."""
    return lay_out([replace(one, picture=_of_height(one.picture, height)) for one in panels], title).image()


def lay_out(panels: Sequence[Panel], title: str = "", *, zoom: float = 1.0, stacked: bool = False) -> Sheet:
    """Return the panels on a sheet, their pictures at the sizes they have.

    Args:
        panels: from left to right.
        title: over them.
        zoom: of the text and the space around it.
        stacked: one below the other, for pictures much wider than high.
    """
    px = partial(_scaled, zoom)
    widths = [max(panel.picture.width, px(_NARROWEST)) for panel in panels]
    width = 2 * px(_MARGIN) + (max(widths) if stacked else sum(widths) + px(_GAP) * (len(panels) - 1))
    items: list[Placed | Line] = []
    x = y = px(_MARGIN)
    if title:
        y = _write(items, title, x, y, width - 2 * px(_MARGIN), px(19), px(24), _INK, bold=True) + px(6)
    columns = [
        (panel, wide, wrapped(panel.heading, px(17), wide, bold=True))
        for panel, wide in zip(panels, widths, strict=True)
    ]
    most = max((len(heading) for *_, heading in columns), default=0)
    bottom = y
    for panel, wide, heading in columns:
        at = y
        # Side by side, pictures begin at one height, whatever stands over them.
        for number, line in enumerate(heading):
            row = number if stacked else most - len(heading) + number
            items.append(Line(x, at + px(17) + px(22) * row, line, px(17), _INK, bold=True))
        at += px(22) * (len(heading) if stacked else most) + px(6)
        items.append(Placed(x, at, panel.picture))
        at += panel.picture.height + px(8)
        if panel.bar is not None:
            at = _draw_bar(items, panel.bar, x, at, wide, px)
        for number, text in enumerate(panel.lines):
            at = _write(items, text, x, at, wide, px(14), px(20), _INK if number == 0 else _FAINT)
        bottom = max(bottom, at)
        if stacked:
            y = at + px(_GAP)
        else:
            x += wide + px(_GAP)
    return Sheet(width, bottom + px(_MARGIN), tuple(items))


def _scaled(zoom: float, pixels: int) -> int:
    return max(1, round(pixels * zoom))


def _write(
    items: list[Placed | Line],
    text: str,
    x: int,
    y: int,
    width: int,
    size: int,
    pitch: int,
    ink: str,
    bold: bool = False,
) -> int:
    """Add a text in as many lines as it needs; return where the next may begin."""
    for line in wrapped(text, size, width, bold):
        items.append(Line(x, y + size, line, size, ink, bold))
        y += pitch
    return y


def _draw_bar(items: list[Placed | Line], bar: Bar, x: int, y: int, width: int, px: partial[int]) -> int:
    """Add a scale with its ends, and a mark at the map's own peak; return where the text below may begin."""
    thick = px(9)
    ramp = colours(np.linspace(0, 1, width)).astype(np.uint8)
    pixels = np.broadcast_to(ramp, (thick, width, 3)).copy()
    share = min(1.0, max(0.0, bar.peak / bar.top)) if bar.top > 0 else 0.0
    if bar.top <= 0:
        pixels[:] = 225
    elif share < 1:
        at = round(share * (width - 1))
        pixels[:, max(0, at - px(1)) : at + px(1)] = 255
        # What no pixel of this map reaches is pale.
        pixels[:, at + px(1) :] = 255 - (255 - pixels[:, at + px(1) :].astype(np.uint16)) // 4
    items.append(Placed(x, y, Image.fromarray(pixels)))
    y += thick + px(14)
    small = px(12)
    items.append(Line(x, y, "0", small, _FAINT))
    if bar.top > 0:
        items.append(right_aligned(Line(x, y, rounded(bar.top), small, _FAINT), x + width))
    return y + px(8)


def _of_height(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.BICUBIC)
