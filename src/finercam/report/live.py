"""The live view as a part of a page: explanations that can be asked again, in a frame that can do nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finercam.report.panels import Panel
from finercam.report.parts import Part, Strip, escaped
from finercam.report.view.data import photo_name
from finercam.report.view.page import write_page

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

_SCRIPT = re.compile(r"<script(?P<kind>[^>]*)>(?P<text>.*?)</script>", re.S)
_STYLE = re.compile(r"<style>(.*?)</style>", re.S)
#: Height of the pictures for print.
_SIDE = 260


@dataclass(frozen=True)
class Live(Part):
    """Photos in the live view; where the page is printed, their maps as pictures.

    Attributes:
        page: of the view.
        title: of the frame.
        panels: what is printed.
    """

    page: str
    title: str
    panels: Sequence[Panel]

    @classmethod
    def of(
        cls,
        photos: Sequence[Sequence[Explanation]],
        title: str,
        curves: Sequence[dict[str, Any] | None] = (),
    ) -> Live:
        """Return photos in the live view.

        Args:
            photos: of each the explanations of it, with evidence; the first is shown first. All are of one model.
            title: of the frame.
            curves: of each photo, as for ``view.data.kept``.
        """
        return cls(write_page(photos, title, curves), title, [_on_paper(own[0]) for own in photos])

    def html(self) -> str:
        """Return the frame, and what is printed instead of it."""
        frame = (
            f'<iframe sandbox="allow-scripts allow-downloads" title="{escaped(self.title)}" '
            f'srcdoc="{html.escape(self.page)}"></iframe>'
        )
        return frame + Strip(self.panels, on_paper=True).html()

    def scripts(self) -> Iterator[str]:
        """Yield the view's script; a frame keeps to the policy of the page around it, besides its own."""
        for found in _SCRIPT.finditer(self.page):
            if "application/json" not in found["kind"]:
                yield found["text"]

    def styles(self) -> Iterator[str]:
        """Yield the view's style sheet."""
        yield from _STYLE.findall(self.page)


def _on_paper(explanation: Explanation) -> Panel:
    picture = explanation.overlay()
    by = _SIDE / max(picture.size)
    small = picture.resize((max(1, round(picture.width * by)), max(1, round(picture.height * by))))
    lines = [str(explanation), "empty" if explanation.empty else ""]
    return Panel(small, photo_name(explanation), lines)
