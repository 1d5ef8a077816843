"""A page as one HTML file: all it shows is inside it, it runs nothing it does not name, and it reads on a phone.

Its policy, a ``<meta>``, lets in pictures that are inside the page, and the style sheets and scripts whose hashes it
names; nothing is ever asked of a network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from finercam.files import whole
from finercam.report.parts import Part, escaped
from finercam.texts import encoded


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    parts: Sequence[Part]


def write_report(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        path: of the file.
        title: of the page.
        lead: what it is about, in a sentence or two.
        sections: in their order; from three on there is a table of contents.

    Raises:
        NotWritten: it cannot be written.
    """
    content = encoded(page(title, lead, sections))
    with whole(path) as aside:
        aside.write_bytes(content)
    return path


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the page that ``write_report`` writes."""
    parts = [part for section in sections for part in section.parts]
    style = (files("finercam.report") / "page.css").read_text(encoding="utf-8")
    policy = policy_of(
        [style, *(one for part in parts for one in part.styles())], [s for p in parts for s in p.scripts()]
    )
    body = [f"<h1>{escaped(title)}</h1>", f'<p class="lead">{escaped(lead)}</p>']
    if len(sections) > 2:
        links = "".join(f'<li><a href="#s{n}">{escaped(one.heading)}</a></li>' for n, one in enumerate(sections, 1))
        body.append(f'<nav aria-label="Contents"><ol>{links}</ol></nav>')
    for number, section in enumerate(sections, 1):
        body.append(f'<section id="s{number}"><h2>{escaped(section.heading)}</h2>')
        body += [part.html() for part in section.parts]
        body.append("</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{style}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def policy_of(styles: Iterable[str], scripts: Iterable[str]) -> str:
    """Return a policy that lets in these style sheets and scripts, pictures inside the page, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data: blob:",
            _named("style-src", styles),
            _named("script-src", scripts),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _named(what: str, texts: Iterable[str]) -> str:
    hashes = dict.fromkeys(hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
    names = [f"'sha256-{base64.b64encode(one).decode('ascii')}'" for one in hashes]
    return " ".join([what, *(names or ["'none'"])])
