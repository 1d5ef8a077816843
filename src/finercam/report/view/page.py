"""The live view as one HTML file: script, style and data inside, and a policy that lets nothing else in or out."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from finercam.errors import FinercamError
from finercam.files import whole
from finercam.report.view.bundle import bundled
from finercam.report.view.data import kept, light, page_data, photo_name
from finercam.texts import printable

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

#: What an anywidget would be to the view: data at hand, and nobody who listens.
_HOST = """
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const model = {
  get(name) {
    return name === "data" || name.startsWith("kept/") ? read(name.replace("/", "-")) : undefined;
  },
  set() {}, save_changes() {}, on() {}, off() {},
};
view.render({ model, el: document.getElementById("view") });
if (parent !== self) {
  // In a frame: what is around it may fit the frame to the page.
  const tell = () => parent.postMessage({ finercamHeight: document.documentElement.offsetHeight }, "*");
  new ResizeObserver(tell).observe(document.body);
}
"""


def write_page(
    photos: Iterable[Sequence[Explanation]],
    title: str | None = None,
    curves: Sequence[dict[str, Any] | None] = (),
) -> str:
    """Return a page of the live view.

    Args:
        photos: of each the explanations of it; the first is shown first.
        title: what stands above it.
        curves: of each photo, as for ``kept``, where there are any.
    """
    every = list(photos)
    with Page(len(every)) as page:
        for explanations, own in zip_longest(every, curves):
            page.add(explanations, curves=own)
        return "".join(page.text(title))


class Page:
    """A page in the making: photos are added one by one, and what is heavy of them waits in a temporary file.

    Args:
        photos: how many it will have, about: the page's size is shared among them.
    """

    def __init__(self, photos: int = 1) -> None:
        self._expected = max(1, photos)
        self._light: list[dict[str, Any]] = []
        self._first: Explanation | None = None
        self._heavy: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._heavy.close()

    def __len__(self) -> int:
        return len(self._light)

    def add(
        self, explanations: Sequence[Explanation], known: int | None = None, curves: dict[str, Any] | None = None
    ) -> None:
        """Add a photo.

        Args:
            explanations: of it; the first is shown first.
            known: its true class, where the data says it.
            curves: as for ``kept``.

        Raises:
            FinercamError: it is of another model than the others.
        """
        facts = explanations[0].facts
        if self._first is None:
            self._first = explanations[0]
        elif facts.name != self._first.facts.name or facts.classes != self._first.facts.classes:
            raise FinercamError(f"one page is of one model; this one is of {self._first.facts.name}, not {facts.name}")
        heavy, about = _json(kept(explanations, self._expected, curves)), light(explanations, known)
        self._heavy.write(heavy + "\n")
        self._light.append(about)

    def text(self, title: str | None = None) -> Iterator[str]:
        """Yield the page, part by part.

        Args:
            title: what stands above it; the photo's name, or how many there are, if left out.

        Raises:
            FinercamError: it has no photo.
        """
        if self._first is None:
            raise FinercamError("a page needs at least one photo that was explained")
        one = photo_name(self._first) if len(self) == 1 else f"{len(self)} photos"
        title = printable(title) if title else one
        style, script = source("view.css"), _module()
        yield (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="referrer" content="no-referrer">\n'
            f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
            '<div id="view"><noscript>This page needs JavaScript; it loads nothing from anywhere.</noscript></div>\n'
        )
        facts = self._first.facts
        yield _block("data", _json(page_data(facts, title, self._light)))
        self._heavy.seek(0)
        for number, line in enumerate(self._heavy):
            yield _block(f"kept-{number}", line.rstrip("\n"))
        yield f'<script type="module">{script}</script>\n</body>\n</html>\n'

    def save(self, path: Path, title: str | None = None) -> Path:
        """Write the page, whole or not at all.

        Raises:
            FinercamError: it has no photo, or cannot be written.
        """
        with whole(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(self.text(title))
        return path


def framed(page: str, height: int = 900) -> str:
    """Return a page in a frame of its own, which can do nothing to what is around it.

    Args:
        page: its HTML.
        height: of the frame, in pixels.
    """
    return (
        f'<iframe sandbox="allow-scripts allow-downloads" title="live view" width="100%" height="{height}" '
        f'style="border:0" srcdoc="{html.escape(page)}"></iframe>'
    )


def _block(name: str, data: str) -> str:
    return f'<script type="application/json" id="{name}">{data}</script>\n'


def _json(value: Any) -> str:
    """Return JSON that ends no script and opens no comment, whatever names are in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str, style: str) -> str:
    """Return a policy under which this script and this style work, and nothing else does."""
    known = {"default": "'none'", "img": "data: blob:", "script": _hashed(script), "style": _hashed(style)}
    return "; ".join(f"{name}-src {what}" for name, what in known.items()) + "; form-action 'none'; base-uri 'none'"


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _module() -> str:
    """Return the view as an inline module: what it exports becomes a name that the host calls."""
    before, _, after = source("view.js").rpartition("export default")
    return f"{before}const view ={after}\n{_HOST}"


@cache
def source(name: str) -> str:
    """Return ``view.js`` (an ES module whose default export has ``render``, as anywidget wants it) or ``view.css``."""
    folder = Path(__file__).parent
    return bundled(folder / "js", name) if name.endswith(".js") else (folder / name).read_text(encoding="utf-8")
