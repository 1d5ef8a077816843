"""The picture of a pair: each photo, and beside it what in it makes it like the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from finercam.report.explained import EMPTY, check_look, shown
from finercam.report.panels import Bar, Panel, lay_out, rounded
from finercam.report.render import overlay
from finercam.texts import printable

if TYPE_CHECKING:
    from finercam.explanations.pairs import Pair


def draw_pair(pair: Pair, size: int | None = None, scale: str = "common") -> Image.Image:
    """Return both photos with their maps, each on its photo as it was given.

    Args:
        pair: what is shown.
        size: longer side of each picture in pixels; what suits its shape if left out.
        scale: ``common`` shows both maps' values in the same colours, ``own`` scales each to its peak.

    Raises:
        FinercamError: an unknown scale, or a size that no picture has.
    """
    check_look(size, scale)
    both = (pair.first, pair.second)
    first, second, *others = (printable(name) for name in pair.names)
    peaks = [float(one.saliency.max()) for one in both]
    panels = []
    for at, (one, own, other, peak) in enumerate(zip(both, (first, second), (second, first), peaks, strict=True)):
        photo, placed = shown(one, size)
        said = [f"similarity to {name} {found[at]:.3f}" for name, found in zip(others, pair.others, strict=True)]
        panels.append(Panel(photo, own, [f"similarity {pair.similarity:.3f}", *said]))
        top = max(peaks) if scale == "common" else peak
        heat = one.saliency if placed is None else placed.to_photo(one.saliency)
        asked = [f"why like {other}", *(f"and not {name}" if not i else f"nor {name}" for i, name in enumerate(others))]
        lines = [*asked, EMPTY if peak <= 0 else f"peak {rounded(peak)}"]
        if placed is not None and not bool(placed.seen().all()):
            lines.append("hatched: not seen by the model")
        panels.append(Panel(overlay(photo, heat, top), one.method.full_title, lines, Bar(top, peak)))
    return lay_out(panels, zoom=1.0 if size is None else max(1.0, size / 600)).image()
