"""The live view as a widget, for notebooks in which Python wants to know what was asked and which region was marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from finercam.errors import FinercamError
from finercam.report.view.data import kept, light, page_data, photo_name
from finercam.report.view.page import source

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation


def widget(explanation: Explanation | Sequence[Explanation], title: str | None = None) -> Any:
    """Return the live view as an ``anywidget.AnyWidget``.

    Its traits ``region`` and ``state`` follow what is done in it: ``widget.observe(f, "region")`` calls ``f`` with each
    new region, and ``region_mask(explanation, widget.region)`` is what ``Explanation.speaks`` takes.

    Args:
        explanation: one, or several of one photo by different methods.
        title: what stands above it; the photo's name if left out.

    Raises:
        FinercamError: anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise FinercamError("the widget needs anywidget; pip install 'finercam[notebook]'") from None

    class View(anywidget.AnyWidget):
        _esm = source("view.js")
        _css = source("view.css")
        data = traitlets.Dict().tag(sync=True)
        region = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
        state = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    several = list(explanation) if isinstance(explanation, Sequence) else [explanation]
    photo = {**light(several), "kept": kept(several)}
    return View(data=page_data(several[0].facts, title or photo_name(several[0]), [photo]))


def region_mask(explanation: Explanation, region: dict[str, Any]) -> Bool[NDArray[Any], "h w"]:
    """Return the photo's pixels in a widget's region.

    Args:
        explanation: of the photo.
        region: a box or discs, in fractions of the width and height of what is shown; of its width for a disc's radius.
    """
    view, placed = explanation.view()
    width, height = view.size if placed is None else (placed.x.photo, placed.y.photo)
    inside = _inside(region, width, height)
    window = None if explanation.placement is None else explanation.placement.window
    if window is None or explanation.original is None:
        return inside
    (left, top, right, bottom), (wide, high) = window, explanation.original.size
    found = np.zeros((high, wide), dtype=bool)
    found[top:bottom, left:right] = inside
    return found


def _inside(region: dict[str, Any], width: int, height: int) -> Bool[NDArray[Any], "h w"]:
    x, y = (np.arange(width) + 0.5)[None], (np.arange(height) + 0.5)[:, None]
    if "box" in region:
        x0, y0, x1, y1 = region["box"]
        inside: NDArray[Any] = (x >= x0 * width) & (x < x1 * width) & (y >= y0 * height) & (y < y1 * height)
        return inside
    inside = np.zeros((height, width), dtype=bool)
    for u, v, radius in region["discs"]:
        inside |= (x - u * width) ** 2 + (y - v * height) ** 2 <= (radius * width) ** 2
    return inside
