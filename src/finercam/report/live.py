"""The live view as a part of a page: explanations that can be asked again, in a frame that can do nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from finercam.report.panels import Panel
from finercam.report.parts import Part, Strip, escaped
from finercam.report.view.page import write_page

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

_SCRIPT = re.compile(r"<script(?P<kind>[^>]*)>(?P<text>.*?)</script>", re.S)
_STYLE = re.compile(r"<style>(.*?)</style>", re.S)
#: Height of the pictures for print.
_SIDE = 260


@dataclass(frozen=True, eq=False)
class Live(Part):
    """Photos in the live view; where the page is printed, their maps as pictures.

    Attributes:
        photos: of each the explanations of it, with evidence; the first is shown first.
        title: of the frame.
    """

    photos: Sequence[Sequence[Explanation]]
    title: str

    @cached_property
    def _page(self) -> str:
        return write_page(self.photos, self.title)

    def html(self) -> str:
        """Return the frame, and what is printed instead of it."""
        frame = (
            f'<iframe sandbox="allow-scripts allow-downloads" title="{escaped(self.title)}" '
            f'srcdoc="{html.escape(self._page)}"></iframe>'
        )
        panels = [panel for own in self.photos for panel in _on_paper(own[0])]
        return frame + Strip(panels, on_paper=True).html()

    def scripts(self) -> Iterator[str]:
        """Yield the view's script; a frame keeps to the policy of the page around it, besides its own."""
        for found in _SCRIPT.finditer(self._page):
            if "application/json" not in found["kind"]:
                yield found["text"]

    def styles(self) -> Iterator[str]:
        """Yield the view's style sheet."""
        yield from _STYLE.findall(self._page)


def _on_paper(explanation: Explanation) -> Iterator[Panel]:
    name = explanation.source or "photo"
    yield Panel(_small(explanation.overlay()), name, [str(explanation), "empty" if explanation.empty else ""])


def _small(picture: Image.Image) -> Image.Image:
    by = _SIDE / max(picture.size)
    return picture.resize((max(1, round(picture.width * by)), max(1, round(picture.height * by))))
