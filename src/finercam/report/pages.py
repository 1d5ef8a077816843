"""A report as one HTML file: pictures inside it, readable on a phone."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from finercam.files import whole
from finercam.report.panels import Panel

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --faint: #666; --paper: #fff; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --faint: #aaa; --paper: #161616; --line: #444; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; } h3 { margin: 1.5rem 0 .5rem; font-size: 1.05rem; }
p { max-width: 46rem; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(190px, 45%), 1fr)); gap: .75rem; }
figure { margin: 0; } figure img { width: 100%; display: block; border-radius: 4px; }
figcaption { font-size: .85rem; line-height: 1.35; margin-top: .35rem; color: var(--faint); }
figcaption b { color: var(--ink); display: block; }
.wide { max-width: 62rem; } .wide img { width: auto; max-width: 100%; background: #fff; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
"""


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and then rows of panels or a table.

    Attributes:
        strips: (title, panels) each.
        table: rows of cells; the first is the heading.
        wide: pictures that are shown as wide as the page allows.
    """

    heading: str
    text: str = ""
    strips: Sequence[tuple[str, Sequence[Panel]]] = ()
    table: Sequence[Sequence[str]] = field(default=())
    wide: Sequence[Panel] = ()


def write_report(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write the report, whole or not at all, and return its path."""
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(lead)}</p>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.heading)}</h2>")
        if section.text:
            body.append(f"<p>{html.escape(section.text)}</p>")
        for heading, panels in section.strips:
            body.append(f"<h3>{html.escape(heading)}</h3>")
            body.append('<div class="strip">' + "".join(_figure(panel) for panel in panels) + "</div>")
        body += [f'<div class="wide">{_figure(panel)}</div>' for panel in section.wide]
        if section.table:
            body.append(_table(section.table))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
    with whole(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def _figure(panel: Panel) -> str:
    lines = "<br>".join(html.escape(line) for line in panel.lines if line)
    text = html.escape(panel.heading)
    return (
        f'<figure><img alt="{text}" src="{_embedded(panel.picture)}">'
        f"<figcaption><b>{text}</b>{lines}</figcaption></figure>"
    )


def _embedded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _table(rows: Sequence[Sequence[str]]) -> str:
    heading, *rest = rows
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rest)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
