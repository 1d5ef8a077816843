"""The picture of one explanation: photo | the plain map | the finer map; or the photo with what they show hidden."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import full_name, short_names
from finercam.errors import FinercamError, nearest
from finercam.report.panels import Bar, Panel, draw_panels, lay_out
from finercam.report.render import as_seen, overlay
from finercam.report.sheet import Sheet

if TYPE_CHECKING:
    from finercam.data.placement import Placement
    from finercam.explanations.concepts import Hidden
    from finercam.explanations.explanation import Explanation

EMPTY = "empty: nothing speaks for it"
SCALES = ("common", "own")
#: Pictures have as many pixels as a square of this side where no size is asked for.
_SIDE = 400
#: Pictures this much wider than high stand one below the other.
_WIDE = 1.8
_LARGEST = 10_000
#: Pixels of a picture per inch of paper.
DPI = 150
_FINEST = 2400
_SHOWN = 3


def lay_out_explanation(explanation: Explanation, size: int | None = None, scale: str = "common") -> Sheet:
    """Return the photo and its maps with names, probabilities (or similarities) and gamma.

    The maps lie on the photo as it was given; what the model did not see of it is hatched. Where the photo is not at
    hand, or its preprocessing does more than resize, crop and pad, they lie on what the model was given.

    Args:
        explanation: with gamma 0 its plain map is all there is to show.
        size: longer side of each picture in pixels; what suits its shape if left out.
        scale: ``common`` shows both maps' values in the same colours, ``own`` scales each to its peak.

    Raises:
        FinercamError: an unknown scale, or a size that no picture has.
    """
    check_look(size, scale)
    photo, placed = shown(explanation, size)
    contrast, title = explanation.contrast, explanation.method.full_title
    maps = []
    if not _is_plain(contrast):
        maps.append((explanation.plain, title, [f"why {_name(explanation, explanation.target)}", "alone"]))
    maps.append((explanation.saliency, _heading(explanation), _asked(explanation)))
    peaks = [float(saliency.max()) for saliency, *_ in maps]
    first = _photo(explanation, photo)
    if placed is None and explanation.original is not None:
        first = Panel(photo, "Photo, as the model saw it", first.lines)
    panels = [first]
    for (saliency, heading, lines), peak in zip(maps, peaks, strict=True):
        top = max(peaks) if scale == "common" else peak
        heat = saliency if placed is None else placed.to_photo(saliency)
        said = [*lines, EMPTY if peak <= 0 else f"peak {peak:.3g}"]
        if placed is not None and not bool(placed.seen().all()):
            said.append("hatched: not seen by the model")
        panels.append(Panel(overlay(photo, heat, top), heading, said, Bar(top, peak)))
    zoom = 1.0 if size is None else max(1.0, size / 600)
    return lay_out(panels, zoom=zoom, stacked=photo.width > _WIDE * photo.height)


def check_look(size: int | None, scale: str, dpi: int = DPI) -> None:
    """Check how a picture is to look.

    Raises:
        FinercamError: an unknown scale, or a size or resolution that no picture has.
    """
    if scale not in SCALES:
        raise FinercamError(f"scale is {scale!r}; {nearest(scale, SCALES)}")
    if size is not None and not 16 <= size <= _LARGEST:
        raise FinercamError(f"the size of a picture is {size} pixels; give 16 to {_LARGEST}")
    if not 1 <= dpi <= _FINEST:
        raise FinercamError(f"dpi is {dpi}; give 1 to {_FINEST}")


def draw_hidden(explanation: Explanation, by_plain: Hidden, by_contrast: Hidden) -> Image.Image:
    """Return the photo, and the photo with what either map points at hidden (the paper's Fig. 2).

    All as the model saw it.

    Args:
        explanation: of the photo.
        by_plain: hidden by the map of the target alone.
        by_contrast: hidden by the map of the contrast.
    """
    classes = (explanation.target, *explanation.references)
    panels = [_photo(explanation, explanation.seen())]
    for heading, hidden, empty in (
        (explanation.method.full_title, by_plain, float(explanation.plain.max()) <= 0),
        (_heading(explanation), by_contrast, explanation.empty),
    ):
        share = f"{100 * float(hidden.mask.float().mean()):.2g} % of the pixels are hidden"
        before, after = explanation.logits, hidden.logits
        change = [
            f"{strength_of(explanation, before, index)} → {strength_of(explanation, after, index)} "
            f"for {_name(explanation, index)}"
            for index in classes[: 1 + _SHOWN]
        ]
        picture = as_seen(hidden.image, explanation.facts.mean, explanation.facts.std)
        panels.append(Panel(picture, f"Hidden by {heading}", ["empty: nothing to hide" if empty else share, *change]))
    return draw_panels(panels)


def model_name(name: str) -> str:
    """Return a model's name as it is shown: of a folder only the last part, whatever stands before the path."""
    kind, colon, path = name.rpartition(":")
    folder = path if colon and (kind.endswith("local-dir") or kind == "file") else name
    local = folder != name or name.startswith((".", "~")) or os.path.isabs(name) or Path(name).exists()
    return Path(folder).name or folder if local else name


def shown(explanation: Explanation, size: int | None) -> tuple[Image.Image, Placement | None]:
    """Return the photo at the size it is shown in, and its placement; without one, the model's input."""
    original, placement = explanation.original, explanation.placement
    if original is None or placement is None:
        seen = explanation.seen()
        return _fitted(seen, seen.size, size), None
    photo = _fitted(original.open(max(_target_size(original.size, size))), original.size, size)
    return photo, placement.resized(photo.size)


def _target_size(photo: tuple[int, int], size: int | None) -> tuple[int, int]:
    width, height = photo
    by = (_SIDE**2 / (width * height)) ** 0.5 if size is None else size / max(photo)
    return max(1, round(width * by)), max(1, round(height * by))


def _fitted(picture: Image.Image, photo: tuple[int, int], size: int | None) -> Image.Image:
    wanted = _target_size(photo, size)
    # The pixels of a tiny photo are shown as what they are.
    tiny = wanted[0] > 4 * picture.width
    return picture.resize(wanted, Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS)


def _photo(explanation: Explanation, picture: Image.Image) -> Panel:
    if explanation.facts.prompts:
        seen = [named(explanation, index) for index in (explanation.target, *explanation.references)[: 1 + _SHOWN]]
    else:
        seen = [f"the model says {named(explanation, int(explanation.logits.argmax()))}"]
    return Panel(picture, "Photo", [*seen, model_name(explanation.facts.name)])


def _asked(explanation: Explanation) -> list[str]:
    """Return the question as the lines under its map."""
    contrast = explanation.contrast
    references = [named(explanation, index) for index in explanation.references]
    target = named(explanation, explanation.target)
    if len(references) > _SHOWN:
        references[_SHOWN:] = [f"{len(references) - _SHOWN} more"]
    if not isinstance(contrast, Contrast):
        return [f"for {target}"]
    if contrast.reverse:
        lines = [f"why {references[0]}", *(f"and {name}" for name in references[1:])]
        return [*lines, "alone"] if contrast.strength == 0 else [*lines, f"and not {target}"]
    if contrast.strength == 0:
        return [f"why {target}", "alone"]
    return [f"why {target}", f"and not {references[0]}", *(f"nor {name}" for name in references[1:])]


def named(explanation: Explanation, index: int) -> str:
    """Return a class with its probability or similarity: ``Grandala 12 %``."""
    # Its last word and the number stay together.
    return f"{_name(explanation, index)}\xa0{strength_of(explanation, explanation.logits, index)}"


def briefly(explanation: Explanation, index: int) -> str:
    """Return a class as ``named`` does, by its common name alone where it has one."""
    (name,) = short_names([explanation.facts.class_name(index)])
    return f"{name}\xa0{strength_of(explanation, explanation.logits, index)}"


def _name(explanation: Explanation, index: int) -> str:
    return full_name(explanation.facts.class_name(index))


def _heading(explanation: Explanation) -> str:
    contrast, title = explanation.contrast, explanation.method.full_title
    if not isinstance(contrast, Contrast):
        return f"{title}, {contrast.name}"
    if _is_plain(contrast):
        return title
    reverse = "reversed, " if contrast.reverse else ""
    return f"Finer {title}, {reverse}gamma {exactly(contrast.strength)}"


def _is_plain(contrast: object) -> bool:
    """Whether nothing is compared with anything."""
    return isinstance(contrast, Contrast) and contrast.strength == 0 and not contrast.reverse


def strength_of(explanation: Explanation, logits: Float[Tensor, " C"], index: int) -> str:
    """Return how strongly the model sees a class: its probability, or a prompt's similarity to the image."""
    if explanation.facts.prompts:
        return f"{float(explanation.facts.similarities(logits)[index]):.3f}"
    probability = float(explanation.facts.probabilities_of(logits)[index])
    return f"{100 * probability:.0f}\xa0%" if probability >= 0.01 else f"{100 * probability:.1g}\xa0%"
