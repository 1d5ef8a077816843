"""What a section of a page is made of: each part says how it is written in HTML.

Everything that comes from outside is text here: escaped, and without characters that would turn or break a line.
"""

from __future__ import annotations

import base64
import html
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from finercam.report.panels import Panel
from finercam.texts import Cell, printable

#: Pixels above which a picture is broader than a phone shows.
_BROAD = 800


class Part(ABC):
    """A part of a section."""

    @abstractmethod
    def html(self) -> str:
        """Return the part as HTML, escaped."""

    def scripts(self) -> Iterator[str]:
        """Yield the texts of the scripts inside, which the page's policy must know."""
        return iter(())

    def styles(self) -> Iterator[str]:
        """Yield the texts of the style sheets inside."""
        return iter(())


def escaped(text: str) -> str:
    """Return text as it reads in HTML, in attributes too."""
    return html.escape(printable(text))


@dataclass(frozen=True)
class Paragraph(Part):
    """Sentences."""

    text: str

    def html(self) -> str:
        """Return a paragraph; nothing where there is no text."""
        return f"<p>{escaped(self.text)}</p>" if self.text else ""


@dataclass(frozen=True)
class Folded(Part):
    """Parts that are folded away.

    Attributes:
        summary: what stands there instead.
        parts: in their order.
    """

    summary: str
    parts: Sequence[Part]

    def html(self) -> str:
        """Return what can be unfolded."""
        return _folded(self.summary, "".join(part.html() for part in self.parts))

    def scripts(self) -> Iterator[str]:
        """Yield those of the parts."""
        return (text for part in self.parts for text in part.scripts())

    def styles(self) -> Iterator[str]:
        """Yield those of the parts."""
        return (text for part in self.parts for text in part.styles())


@dataclass(frozen=True)
class Heading(Part):
    """A heading inside of a section."""

    text: str

    def html(self) -> str:
        """Return the heading."""
        return f"<h3>{escaped(self.text)}</h3>"


@dataclass(frozen=True)
class Points(Part):
    """A list of sentences.

    Attributes:
        lines: one each.
        summary: where there is one, the list is folded away behind it.
    """

    lines: Sequence[str]
    summary: str = ""

    def html(self) -> str:
        """Return the list; nothing where it is empty."""
        if not self.lines:
            return ""
        listed = "<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in self.lines) + "</ul>"
        return _folded(self.summary, listed)


@dataclass(frozen=True)
class Facts(Part):
    """Names and values, such as a run's options.

    Attributes:
        values: by name.
        summary: where there is one, they are folded away behind it.
    """

    values: Mapping[str, str]
    summary: str = ""

    def html(self) -> str:
        """Return a list of terms."""
        terms = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in self.values.items())
        return _folded(self.summary, f"<dl>{terms}</dl>")


@dataclass(frozen=True)
class Table(Part):
    """Rows of cells; the first is the heading, and the first cell of each other row is that row's heading.

    Attributes:
        rows: texts, or cells with a number that stands out.
        caption: over it.
        summary: where there is one, the table is folded away behind it.
    """

    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    summary: str = ""

    def html(self) -> str:
        """Return the table in a frame that can be scrolled."""
        heading, *rest = self.rows
        caption = f"<caption>{escaped(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col">{_cell(cell)}</th>' for cell in heading)
        body = "".join(
            f'<tr><th scope="row">{_cell(row[0])}</th>'
            + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rest
        )
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        # What scrolls must be reached by keyboard, too.
        return _folded(self.summary, f'<div class="scroll" tabindex="0" role="region" aria-label="table">{table}</div>')


@dataclass(frozen=True)
class Strip(Part):
    """Pictures side by side.

    Attributes:
        panels: from left to right.
        title: over them.
        on_paper: show them only where the page is printed.
        size: of the pictures: ``large`` or ``small``, as most are if left out.
    """

    panels: Sequence[Panel]
    title: str = ""
    on_paper: bool = False
    size: str = ""

    def html(self) -> str:
        """Return a heading and the figures."""
        heading = f"<h3>{escaped(self.title)}</h3>" if self.title else ""
        figures = "".join(_figure(panel) for panel in self.panels)
        content = f'{heading}<div class="strip {self.size}">{figures}</div>'
        return f'<div class="on-paper">{content}</div>' if self.on_paper else content


@dataclass(frozen=True)
class Wide(Part):
    """A picture at its own size, or as wide as the page where it is wider; on paper's white.

    On a phone a broad one is scrolled: as narrow as that, its letters could not be read.

    Attributes:
        panel: the picture, what it is called, and the text under it.
    """

    panel: Panel

    def html(self) -> str:
        """Return the figure."""
        kind = "wide broad" if self.panel.picture.width > _BROAD else "wide"
        return f'<div class="{kind}">{_figure(self.panel, scrolled=True)}</div>'


@dataclass(frozen=True)
class Charts(Part):
    """Drawings of ``finercam.report.charts``, side by side where there is room.

    Attributes:
        drawn: each as HTML, escaped already.
        title: over them.
        text: under that.
        summary: where there is one, the drawings are folded away behind it.
    """

    drawn: Sequence[str]
    title: str = ""
    text: str = ""
    summary: str = ""

    def html(self) -> str:
        """Return a heading, a sentence, and the drawings."""
        heading = f"<h3>{escaped(self.title)}</h3>" if self.title else ""
        said = f"<p>{escaped(self.text)}</p>" if self.text else ""
        drawn = _folded(self.summary, f'<div class="charts">{"".join(self.drawn)}</div>')
        return f"{heading}{said}{drawn}"


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{escaped(summary)}</summary>{content}</details>" if summary else content


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    number = escaped(cell.text)
    return (f"<strong>{number}</strong>" if cell.strong else number) + escaped(cell.rest)


def _figure(panel: Panel, scrolled: bool = False) -> str:
    lines = "<br>".join(escaped(line) for line in panel.lines if line)
    text = escaped(panel.heading)
    picture = f'<img alt="{text}" src="{embedded(panel.picture)}">'
    if scrolled:
        picture = f'<div class="scroll" tabindex="0" role="region" aria-label="{text}">{picture}</div>'
    return f"<figure>{picture}<figcaption><b>{text}</b>{lines}</figcaption></figure>"


def embedded(picture: Image.Image) -> str:
    """Return a picture as a ``data:`` address."""
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
