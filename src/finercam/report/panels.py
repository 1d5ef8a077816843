"""Panels in a row, each a picture with a heading and a line of small print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from finercam.report.render import font

_MARGIN, _GAP, _INK, _FAINT, _PAPER = 16, 12, "#1c1c1c", "#6b6b6b", "#ffffff"


@dataclass(frozen=True)
class Panel:
    """One picture, what stands over it, and the lines under it."""

    picture: Image.Image
    heading: str
    lines: Sequence[str] = ()


def draw_panels(panels: Sequence[Panel], title: str = "", height: int = 360) -> Image.Image:
    """Return the panels side by side, all of one height, under a title."""
    heading, small, large = font(17, bold=True), font(14), font(19, bold=True)
    sizes = [(max(1, round(p.picture.width * height / p.picture.height)), height) for p in panels]
    width = 2 * _MARGIN + sum(w for w, _ in sizes) + _GAP * (len(panels) - 1)
    top = _MARGIN + (32 if title else 0)
    lines = max((len(p.lines) for p in panels), default=0)
    sheet = Image.new("RGB", (width, top + 26 + height + 8 + 20 * lines + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, _MARGIN - 4), fit(title, large, width - 2 * _MARGIN), fill=_INK, font=large)
    x = _MARGIN
    for panel, (w, h) in zip(panels, sizes, strict=True):
        draw.text((x, top), fit(panel.heading, heading, w), fill=_INK, font=heading)
        sheet.paste(panel.picture.resize((w, h), Image.Resampling.BICUBIC), (x, top + 26))
        for row, line in enumerate(panel.lines):
            ink = _INK if row == 0 else _FAINT
            draw.text((x, top + 26 + h + 6 + 20 * row), fit(line, small, w), fill=ink, font=small)
        x += w + _GAP
    return sheet


def fit(text: str, face: object, width: int) -> str:
    """Return the text, cut with an ellipsis where it is wider than ``width`` pixels."""
    from PIL import ImageFont

    assert isinstance(face, ImageFont.FreeTypeFont)
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
