"""The picture of one explanation: photo | the plain map | the finer map; or the photo with what they show hidden."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import full_name, short_names
from finercam.errors import FinercamError, nearest
from finercam.report.panels import Bar, Panel, lay_out, rounded
from finercam.report.render import OUTLINE, as_seen, hatch_unseen, overlay, resized, shown_size
from finercam.report.sheet import Sheet

if TYPE_CHECKING:
    from finercam.data.original import Original
    from finercam.data.placement import Placement
    from finercam.explanations.concepts import Hidden
    from finercam.explanations.explanation import Explanation

EMPTY = "empty: nothing speaks for it"
SCALES = ("common", "own")
#: Pictures this much wider than high stand one below the other.
_WIDE = 1.8
_LARGEST = 10_000
#: Pixels of a picture per inch of paper.
DPI = 150
_FINEST = 2400
_SHOWN = 3


def lay_out_explanation(explanation: Explanation, size: int | None = None, scale: str = "common") -> Sheet:
    """Return the photo and its maps with names, probabilities (or similarities) and gamma.

    The maps lie on the photo as it was given, or on the square around an animal on it, which the first picture has a
    line around; what the model did not see is hatched. Where the photo is not at
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
    panels = [_photo(explanation, photo, placed)]
    for (saliency, heading, lines), peak in zip(maps, peaks, strict=True):
        top = max(peaks) if scale == "common" else peak
        heat = saliency if placed is None else placed.to_photo(saliency)
        said = [*lines, EMPTY if peak <= 0 else f"peak {rounded(peak)}", *_unseen(placed)]
        panels.append(Panel(overlay(photo, heat, top), heading, said, Bar(top, peak)))
    return _sheet(panels, photo, size)


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


def lay_out_hidden(explanation: Explanation, by_plain: Hidden, by_contrast: Hidden, size: int | None = None) -> Sheet:
    """Return the photo, and the photo with what either map points at hidden (the paper's Fig. 2).

    The hidden pixels are those of the model's input, laid on the photo as the maps are by ``lay_out_explanation``.

    Args:
        explanation: of the photo.
        by_plain: hidden by the map of the target alone.
        by_contrast: hidden by the map of the contrast.
        size: longer side of each picture in pixels; what suits its shape if left out.
    """
    photo, placed = shown(explanation, size)
    classes = (explanation.target, *explanation.references)
    panels = [_photo(explanation, photo, placed)]
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
        lines = ["empty: nothing to hide" if empty else share, *change, *_unseen(placed)]
        panels.append(Panel(without(explanation, hidden, photo, placed), f"Hidden by {heading}", lines))
    return _sheet(panels, photo, size)


def without(explanation: Explanation, hidden: Hidden, photo: Image.Image, placed: Placement | None) -> Image.Image:
    """Return the photo with the hidden pixels in the colour that the model saw there."""
    seen = as_seen(hidden.image, explanation.facts.mean, explanation.facts.std)
    if placed is None:
        return resized(seen, photo.size)
    mask, drawn = placed.mask_to_photo(hidden.mask).numpy(), np.asarray(photo).copy()
    colours = np.asarray(seen)[hidden.mask.cpu().numpy()]
    if len(colours):
        drawn[mask] = colours[0]
    return hatch_unseen(Image.fromarray(drawn), photo, ~placed.seen())


def model_name(name: str) -> str:
    """Return a model's name as it is shown: of a folder only the last part, whatever stands before the path."""
    kind, colon, path = name.rpartition(":")
    folder = path if colon and (kind.endswith("local-dir") or kind == "file") else name
    local = folder != name or name.startswith((".", "~")) or os.path.isabs(name) or Path(name).exists()
    return Path(folder).name or folder if local else name


def shown(explanation: Explanation, size: int | None) -> tuple[Image.Image, Placement | None]:
    """Return the photo at the size it is shown in, and its placement; without one, the model's input."""
    original, placement = explanation.original, explanation.placement
    whole = None if original is None or placement is None else max(shown_size(original.size, size))
    view, placed = explanation.view(whole)
    wanted = shown_size(view.size if placed is None else (placed.x.photo, placed.y.photo), size)
    return resized(view, wanted), None if placed is None else placed.resized(wanted)


def _sheet(panels: list[Panel], photo: Image.Image, size: int | None) -> Sheet:
    zoom = 1.0 if size is None else max(1.0, size / 600)
    return lay_out(panels, zoom=zoom, stacked=photo.width > _WIDE * photo.height)


def _unseen(placed: Placement | None) -> list[str]:
    return ["hatched: not seen by the model"] if placed is not None and not bool(placed.seen().all()) else []


def _photo(explanation: Explanation, picture: Image.Image, placed: Placement | None) -> Panel:
    if explanation.facts.prompts:
        seen = [named(explanation, index) for index in (explanation.target, *explanation.references)[: 1 + _SHOWN]]
    else:
        seen = [f"the model says {named(explanation, int(explanation.logits.argmax()))}"]
    heading = "Photo" if placed is not None or explanation.original is None else "Photo, as the model saw it"
    original = explanation.original
    if original is not None and (box := original.box) is not None:
        sure = f" {box['confidence']:.2g}" if "confidence" in box else ""
        seen.append(f"box {box['number']}" + (f": {box['category']}{sure}" if "category" in box else sure))
        picture = _boxed(original, box, picture.height)
    return Panel(picture, heading, [*seen, model_name(explanation.facts.name)])


def _boxed(original: Original, box: Mapping[str, Any], height: int) -> Image.Image:
    """Return the whole photo with a line around an animal."""
    width = max(1, round(original.size[0] * height / original.size[1]))
    picture = resized(original.open(max(width, height)), (width, height))
    by, line = height / original.size[1], 3
    corners = [box[name] * by for name in ("x0", "y0", "x1", "y1")]
    outer = [corners[0] - line, corners[1] - line, corners[2] + line, corners[3] + line]
    ImageDraw.Draw(picture).rectangle([(outer[0], outer[1]), (outer[2], outer[3])], outline=OUTLINE, width=line)
    return picture


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
    among = contrast.among(explanation.target, explanation.references, explanation.facts.labels)
    where = [] if among is None else [str(among).strip()]
    return [f"why {target}", f"and not {references[0]}", *(f"nor {name}" for name in references[1:]), *where]


def named(explanation: Explanation, index: int) -> str:
    """Return a class with its probability or similarity: ``Grandala 12 %``."""
    # Its last word and the number stay together.
    return f"{_name(explanation, index)}\xa0{strength_of(explanation, explanation.logits, index)}"


def asked_of(explanation: Explanation) -> str:
    """Return the target as ``named`` does, and where the model says another class, which."""
    said = int(explanation.logits.argmax())
    other = "" if said == explanation.target else f" (the model says {named(explanation, said)})"
    return f"{named(explanation, explanation.target)}{other}"


def briefly(explanation: Explanation, index: int) -> str:
    """Return a class as ``named`` does, by its common name alone where it has one."""
    (name,) = short_names([explanation.facts.class_name(index)])
    return f"{name}\xa0{strength_of(explanation, explanation.logits, index)}"


def _name(explanation: Explanation, index: int) -> str:
    contrast = explanation.contrast
    if isinstance(contrast, Contrast) and contrast.rank is not None:
        return contrast.called(index, explanation.facts.labels)
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
    stands_for = explanation.contrast.classes_of(index, explanation.facts.labels)
    probability = float(explanation.facts.probabilities_of(logits)[stands_for].sum())
    return f"{100 * probability:.0f}\xa0%" if probability >= 0.01 else f"{100 * probability:.1g}\xa0%"
