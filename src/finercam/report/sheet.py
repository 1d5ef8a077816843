"""A drawing of pictures and lines of text, as pixels or as vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from finercam.report.fonts import font, in_fonts, length

PAPER = "#ffffff"


@dataclass(frozen=True)
class Placed:
    """A picture with its upper left corner at x, y."""

    x: int
    y: int
    picture: Image.Image


@dataclass(frozen=True)
class Line:
    """A line of text that begins at x and whose letters stand on y; sizes in pixels."""

    x: float | int
    y: float | int
    text: str
    size: int
    ink: str
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    """What is drawn, from the back to the front, in pixels from the upper left corner."""

    width: int
    height: int
    items: tuple[Placed | Line, ...]

    def image(self) -> Image.Image:
        """Return the sheet in pixels."""
        sheet = Image.new("RGB", (self.width, self.height), PAPER)
        draw = ImageDraw.Draw(sheet)
        for item in self.items:
            if isinstance(item, Placed):
                sheet.paste(item.picture, (item.x, item.y))
                continue
            x = item.x
            for part, file in in_fonts(item.text, item.bold):
                face = font(item.size, item.bold, file)
                draw.text((x, item.y), part, fill=item.ink, font=face, anchor="ls")
                x += face.getlength(part)
        return sheet

    def write_vectors(self, path: Path, form: str, dpi: int, metadata: Mapping[str, str | None]) -> None:
        """Write the sheet as PDF or SVG, its text as outlines.

        Args:
            path: of the file.
            form: ``pdf`` or ``svg``.
            dpi: how many of the sheet's pixels make an inch.
            metadata: by the names that matplotlib's ``savefig`` takes for the format.
        """
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties

        figure = Figure(figsize=(self.width / dpi, self.height / dpi), dpi=dpi, facecolor=PAPER)
        for item in self.items:
            if isinstance(item, Placed):
                w, h = item.picture.size
                corner = (item.x / self.width, 1 - (item.y + h) / self.height)
                axes = figure.add_axes((*corner, w / self.width, h / self.height))
                axes.imshow(item.picture, interpolation="none", aspect="auto")
                axes.axis("off")
                continue
            x = item.x
            for part, file in in_fonts(item.text, item.bold):
                figure.text(
                    x / self.width,
                    1 - item.y / self.height,
                    # What matplotlib would read as mathematics.
                    part.replace("$", r"\$"),
                    color=item.ink,
                    font=FontProperties(fname=file, size=item.size * 72 / dpi),
                    va="baseline",
                )
                x += font(item.size, item.bold, file).getlength(part)
        figure.savefig(path, format=form, dpi=dpi, metadata=dict(metadata))


def right_aligned(line: Line, right: int) -> Line:
    """Return the line so that it ends at a place."""
    return Line(right - length(line.text, line.size, line.bold), line.y, line.text, line.size, line.ink, line.bold)
