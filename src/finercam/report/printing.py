"""Figures at the size they are printed: their look, the text in them, and how they are written.

Lengths are in points (1/72 inch) unless their name says millimetres.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from matplotlib import figure as drawing
from matplotlib import font_manager, rc_context
from matplotlib.text import Text

from finercam.errors import FinercamError, nearest
from finercam.files import whole
from finercam.report.fonts import in_fonts, wrapped
from finercam.texts import encoded

#: Widths of one and two columns of most journals, in millimetres.
ONE_COLUMN, TWO_COLUMNS = 85.0, 178.0
#: Told apart by the colour-blind: Okabe and Ito, "Color universal design", 2008.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#5e5e5e")
#: With them, lines and points are told apart in grey, too.
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, FAINT = "#1c1c1c", "#6b6b6b"
#: Sizes of letters: of headings, and of all else. Nothing is smaller.
HEADING, SMALL = 7.0, 6.0
#: Dots per inch of what is not vectors.
DPI = 300
FORMATS = ("pdf", "svg", "png")
_NARROWEST, _WIDEST = 40.0, 1000.0
_FAMILY = "DejaVu Sans"
_LOOK = {
    "font.family": [_FAMILY],
    "font.size": SMALL,
    "axes.titlesize": HEADING,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # A name is not mathematics.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "#ffffff",
    "svg.fonttype": "path",
    # The same figure gives the same file.
    "svg.hashsalt": "finercam",
}

#: A rectangle: left, top, width and height, from the upper left corner of the page.
Frame: TypeAlias = tuple[float, float, float, float]


class Figure(drawing.Figure):
    """A figure of matplotlib's with its caption: names, probabilities and strengths of what is shown."""

    caption: str = ""
    #: Files of the fonts in it.
    font_files: tuple[str, ...] = ()


@contextmanager
def the_look() -> Iterator[None]:
    """Have figures that are made inside look as they are to be printed."""
    with rc_context(_LOOK):
        yield


def points(millimetres: float) -> float:
    """Return a length in points."""
    return millimetres * 72 / 25.4


def page(width: float, height: float) -> Figure:
    """Return an empty figure of a width in millimetres and a height in points.

    Raises:
        FinercamError: no figure is that wide.
    """
    if not (math.isfinite(width) and _NARROWEST <= width <= _WIDEST):
        raise FinercamError(f"the width of a figure is {width} mm; give {_NARROWEST:.0f} to {_WIDEST:.0f}")
    return Figure(figsize=(width / 25.4, height / 72))


def frame_on(figure: Figure, frame: Frame) -> tuple[float, float, float, float]:
    """Return a frame in fractions of the figure from its lower left corner, as matplotlib has it."""
    left, top, width, height = frame
    across, down = (72 * float(inches) for inches in figure.get_size_inches())
    return left / across, 1 - (top + height) / down, width / across, height / down


def write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float = SMALL,
    bold: bool = False,
    colour: str = INK,
    align: str = "left",
    turned: bool = False,
) -> None:
    """Write a line whose letters stand on y, from the upper left corner of the page."""
    across, down = (72 * float(inches) for inches in figure.get_size_inches())
    figure.text(
        x / across,
        1 - y / down,
        text,
        fontsize=size,
        fontweight="bold" if bold else "normal",
        color=colour,
        ha=align,
        va="center" if turned else "baseline",
        rotation=90 if turned else 0,
    )


def fitted_lines(texts: Sequence[str], width: float, size: float = SMALL, bold: bool = False) -> list[str]:
    """Return texts in lines that are no wider than a width."""
    # Measured at ten times the size, where rounding to pixels does not matter.
    return [line for text in texts for line in wrapped(one_line(text), round(10 * size), 10 * width, bold)]


def one_line(text: str) -> str:
    """Return a text without line breaks; no-break spaces stay."""
    return " ".join(part for part in text.replace("\n", " ").replace("\t", " ").split(" ") if part)


def finished(figure: Figure, caption: str) -> Figure:
    """Return the figure with its caption, and every text in it in fonts that have its characters."""
    used: set[str] = set()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        shown, files = [], []
        for line in text.get_text().split("\n"):
            parts = in_fonts(line)
            shown.append("".join(part for part, _ in parts))
            files += [file for _, file in parts]
        text.set_text("\n".join(shown))
        text.set_parse_math(False)
        used.update(files)
        text.set_fontfamily(list(dict.fromkeys([_FAMILY, *map(_family, files)])))
    figure.caption = one_line(caption)
    figure.font_files = tuple(sorted(used))
    return figure


def form_of(path: str | os.PathLike[str]) -> str:
    """Return the format that a path's suffix asks for.

    Raises:
        FinercamError: there is none of that suffix.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        given = f".{suffix}" if suffix else "a file without a suffix"
        raise FinercamError(f"a figure cannot be saved as {given!r}; {nearest(suffix, FORMATS)}")
    return suffix


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = DPI) -> Path:
    """Write a figure, whole or not at all, and its caption beside it as ``NAME.txt``; return the path.

    In PDF text stays text, in embedded fonts; in SVG it becomes outlines.

    Args:
        figure: one of ``finercam.report.figure``.
        path: ``.pdf``, ``.svg`` or ``.png``.
        dpi: dots per inch of what is not vectors.

    Raises:
        FinercamError: another suffix, or the file cannot be written.
    """
    from finercam import __version__

    path, form = Path(path), form_of(path)
    caption, software = figure.caption, f"finercam {__version__}"
    metadata = {
        "pdf": {"Title": path.stem, "Subject": caption, "Creator": software, "CreationDate": None},
        "svg": {"Title": path.stem, "Description": caption, "Creator": software, "Date": None},
        "png": {"Title": path.stem, "Description": caption, "Software": software},
    }
    # Fonts that are not TrueType's own outlines cannot be embedded as they are.
    fonttype = 42 if all(file.lower().endswith(".ttf") for file in figure.font_files) else 3
    with rc_context({**_LOOK, "pdf.fonttype": fonttype}), whole(path) as aside:
        figure.savefig(aside, format=form, dpi=dpi, metadata=metadata[form])
    with whole(path.with_suffix(".txt")) as aside:
        aside.write_bytes(encoded(caption + "\n"))
    return path


def _family(file: str) -> str:
    """Return the name by which matplotlib finds the font of a file."""
    if file not in {entry.fname for entry in font_manager.fontManager.ttflist}:
        font_manager.fontManager.addfont(file)
    return str(font_manager.FontProperties(fname=file).get_name())
