"""Pictures in rows and columns, with what stands over and under each, and the scale of the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.explanations.explanation import Explanation
from finercam.report.album import Album
from finercam.report.explained import briefly, shown
from finercam.report.panels import rounded
from finercam.report.printing import (
    DPI,
    FAINT,
    HEADING,
    INK,
    SMALL,
    Figure,
    Frame,
    fitted_lines,
    frame_on,
    page,
    points,
    write,
)
from finercam.report.render import overlay

EMPTY, HARDLY = "empty map", "nearly empty"
#: A map whose peak is a smaller part of the plain map's is nearly empty.
_LEAST = 0.01
#: Pixels of the longer side of a picture in a figure of a few columns.
_PIXELS = 480
_GAP, _ROW_GAP, _LEAD = 3.0, 6.0, 7.4
#: No picture is this many times higher than its column is wide.
_TALLEST = 1.3


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture with its text.

    Attributes:
        picture: what is shown; nothing is left blank.
        heading: over it.
        lines: under it, the first in ink, others in grey.
        peak: of the map that is shown, if one is; it is written under the lines.
        mark: written across it: ``empty map``.
        hatched: whether part of the photo was not seen by the model.
    """

    picture: Image.Image | None = None
    heading: str = ""
    lines: Sequence[str] = ()
    mark: str = ""
    peak: float | None = None
    hatched: bool = False


def photo_cell(explanation: Explanation, heading: str = "", lines: Sequence[str] = ()) -> Cell:
    """Return the photo of an explanation, in its own aspect."""
    return Cell(shown(explanation, _PIXELS)[0], heading, lines)


def map_cell(
    explanation: Explanation,
    heading: str = "",
    lines: Sequence[str] = (),
    saliency: Float[Tensor, "H W"] | None = None,
    top: float | None = None,
) -> Cell:
    """Return an explanation's map on its photo.

    Args:
        explanation: of the photo.
        heading, lines: over and under it; its peak is added below.
        saliency: another map over the same input: ``explanation.plain``.
        top: what is shown at full strength; the map's own peak if left out, or the plain map's where next to nothing
            is left of that.
    """
    heat = explanation.saliency if saliency is None else saliency
    peak = float(heat.max())
    photo, placed = shown(explanation, _PIXELS)
    laid = heat if placed is None else placed.to_photo(heat)
    unseen = bool(torch.isnan(laid).any())
    alone = float(explanation.plain.max())
    said = EMPTY if peak <= 0 else HARDLY if peak < _LEAST * alone else ""
    # Stretched to its own peak, what is left of rounding would look like a finding.
    top = alone if said == HARDLY else top
    return Cell(overlay(photo, laid, top), heading, lines, said, peak, unseen)


def first_cells(explanations: Sequence[Explanation], album: Album | None, *, headings: bool = True) -> list[list[Cell]]:
    """Return how the row of each explanation begins: its photo, and an example of the most similar class.

    Where the album has an example for none of them there is no such column, and the class is named under the photo.
    """
    examples = [None if album is None else album.example(one.references[0]) for one in explanations]
    rows = []
    for number, (one, example) in enumerate(zip(explanations, examples, strict=True)):
        over = ("Photo", "Similar class") if headings and number == 0 else ("", "")
        target, other = briefly(one, one.target), briefly(one, one.references[0])
        if all(found is None for found in examples):
            rows.append([photo_cell(one, over[0], [target, f"not {other}"])])
        else:
            blank = photo_cell(one).picture
            there = Cell(example, over[1], [other]) if example is not None else missing(blank, over[1], [other])
            rows.append([photo_cell(one, over[0], [target]), there])
    return rows


def missing(like: Image.Image | None, heading: str = "", lines: Sequence[str] = ()) -> Cell:
    """Return a grey cell of a picture's shape that says that there is no photo."""
    size = (100, 100) if like is None else like.size
    return Cell(Image.new("RGB", size, "#efefef"), heading, lines, "no photo")


def draw_grid(
    rows: Sequence[Sequence[Cell]],
    width: float,
    *,
    groups: Sequence[tuple[str, int]] = (),
    sides: Sequence[str] = (),
    scale: str = "saliency, from 0 to each map's peak",
) -> Figure:
    """Return pictures in rows, all columns of one width, with a colour bar where there are maps.

    Args:
        rows: of cells; shorter ones are blank to the right.
        width: in millimetres.
        groups: titles over the first row, each with the number of its columns; an empty one has no title.
        sides: what stands to the left of each row.
        scale: what the colour bar shows.
    """
    columns = max(len(row) for row in rows)
    left = 10.0 if any(sides) else 0.0
    across = (points(width) - left - _GAP * (columns - 1)) / columns
    cells = [cell for row in rows for cell in row]
    head = 12.0 if any(title for title, _ in groups) else 1.0
    laid, y = [], head
    for row in rows:
        over = [fitted_lines([cell.heading] if cell.heading else [], across, HEADING, True) for cell in row]
        under = [_under(cell, across) for cell in row]
        # Most pictures decide, so that one upright photo does not spread a row of broad ones.
        high = median_high([_height(cell.picture, across) for cell in row if cell.picture is not None] or [across])
        top = y + _LEAD * max(map(len, over)) + (2.0 if any(over) else 0.0)
        laid.append((row, over, under, top, high))
        y = top + high + 2.0 + _LEAD * max(map(len, under)) + _ROW_GAP
    y -= _ROW_GAP
    maps = [cell for cell in cells if cell.peak is not None]
    figure = page(width, y + (20.0 if maps else 2.0))
    at = left
    for title, span in groups:
        wide = span * across + (span - 1) * _GAP
        if title:
            write(figure, at + wide / 2, 7.0, title, size=HEADING, bold=True, align="center")
            _rule(figure, at, at + wide, 9.5)
        at += wide + _GAP
    for number, (row, over, under, top, high) in enumerate(laid):
        if number < len(sides) and sides[number]:
            write(figure, 5.0, top + high / 2, sides[number], size=HEADING, bold=True, align="center", turned=True)
        for column, cell in enumerate(row):
            x = left + column * (across + _GAP)
            for line, text in enumerate(over[column]):
                low = top - 2.0 - _LEAD * (len(over[column]) - 1 - line) - 1.0
                write(figure, x + across / 2, low, text, size=HEADING, bold=True, align="center")
            if cell.picture is not None:
                _place(figure, cell, (x, top, across, high))
            for line, (text, colour) in enumerate(under[column]):
                write(
                    figure, x + across / 2, top + high + 2.0 + SMALL + _LEAD * line, text, colour=colour, align="center"
                )
    if maps:
        _bar(figure, y + 6.0, scale, any(cell.hatched for cell in maps))
    return figure


def _under(cell: Cell, across: float) -> list[tuple[str, str]]:
    texts = [(text, INK if number == 0 else FAINT) for number, text in enumerate(cell.lines) if text]
    if cell.peak is not None and cell.peak > 0:
        texts.append((f"peak {rounded(cell.peak)}", FAINT))
    # A little narrower: at the edge of the page the first letter would be cut.
    return [(line, ink) for text, ink in texts for line in fitted_lines([text], across - 3.0)]


def _height(picture: Image.Image, across: float) -> float:
    return min(across * picture.height / picture.width, _TALLEST * across)


def _place(figure: Figure, cell: Cell, frame: Frame) -> None:
    """Put a picture into the middle of a frame, in its own aspect, and its mark across it."""
    assert cell.picture is not None
    left, top, width, height = frame
    by = min(width / cell.picture.width, height / cell.picture.height)
    wide, high = by * cell.picture.width, by * cell.picture.height
    inside = (left + (width - wide) / 2, top + (height - high) / 2, wide, high)
    most = max(1, round(max(wide, high) * DPI / 72))
    picture = cell.picture
    if max(picture.size) > most:
        picture = picture.copy()
        picture.thumbnail((most, most), Image.Resampling.LANCZOS)
    axes = figure.add_axes(frame_on(figure, inside))
    axes.imshow(picture, interpolation="none", aspect="auto")
    axes.axis("off")
    if cell.mark:
        axes.text(
            0.5, 0.5, cell.mark, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, fontweight="bold",
            color=INK, bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": FAINT, "linewidth": 0.5},
        )  # fmt: skip


def _bar(figure: Figure, top: float, scale: str, hatched: bool) -> None:
    """Draw the colours of maps, as they are over a grey photo, with the ends of the scale."""
    wide, thick = 70.0, 6.0
    ramp = torch.linspace(0, 1, 256).expand(16, -1)
    axes = figure.add_axes(frame_on(figure, (8.0, top, wide, thick)), label="scale")
    axes.imshow(overlay(Image.new("RGB", (256, 16), "#8c8c8c"), ramp, 1.0), aspect="auto", interpolation="none")
    axes.axis("off")
    write(figure, 6.0, top + thick - 0.8, "0", align="right")
    write(figure, 8.0 + wide + 3.0, top + thick - 0.8, scale + ("; hatched: not seen by the model" if hatched else ""))


def _rule(figure: Figure, left: float, right: float, y: float) -> None:
    from matplotlib.lines import Line2D

    x0, y0, wide, _ = frame_on(figure, (left, y, right - left, 0.0))
    figure.add_artist(Line2D([x0, x0 + wide], [y0, y0], color=FAINT, linewidth=0.5))
