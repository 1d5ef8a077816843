"""The picture of one explanation: photo | the plain map | the finer map; or the photo with what they show hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import short_names
from finercam.report.panels import Panel, draw_panels
from finercam.report.render import as_seen, overlay

if TYPE_CHECKING:
    from finercam.explanations.concepts import Hidden
    from finercam.explanations.explanation import Explanation

EMPTY = "empty: nothing speaks for it"
_SHOWN = 3


def draw_explanation(explanation: Explanation) -> Image.Image:
    """Return the three panels with names, probabilities (or similarities) and gamma.

    Each map is scaled to its own peak.
    """
    photo = explanation.photo()
    target, *references = _named(explanation)
    against = [f"and not {references[0]}", *references[1:_SHOWN]] if references else []
    if len(references) > _SHOWN:
        against.append(f"and {len(references) - _SHOWN} more")
    panels = [
        _photo(explanation),
        Panel(
            overlay(photo, explanation.plain),
            explanation.method.full_title,
            [f"why {target}", EMPTY if _is_empty(explanation.plain) else "alone"],
        ),
        Panel(
            overlay(photo, explanation.saliency),
            _heading(explanation),
            [*against, *([EMPTY] if explanation.empty else [])],
        ),
    ]
    return draw_panels(panels)


def draw_hidden(explanation: Explanation, by_plain: Hidden, by_contrast: Hidden) -> Image.Image:
    """Return the photo, and the photo with what either map points at hidden (the paper's Fig. 2).

    Args:
        explanation: of the photo.
        by_plain: hidden by the map of the target alone.
        by_contrast: hidden by the map of the contrast.
    """
    classes = (explanation.target, *explanation.references)
    names = short_names([explanation.facts.class_name(index) for index in classes])
    panels = [_photo(explanation)]
    for heading, hidden, empty in (
        (explanation.method.full_title, by_plain, _is_empty(explanation.plain)),
        (_heading(explanation), by_contrast, explanation.empty),
    ):
        share = f"{100 * float(hidden.mask.float().mean()):.2g} % of the pixels are hidden"
        before, after = explanation.logits, hidden.logits
        change = [
            f"{_strength(explanation, before, index)} → {_strength(explanation, after, index)} for {name}"
            for index, name in list(zip(classes, names, strict=True))[: 1 + _SHOWN]
        ]
        picture = as_seen(hidden.image, explanation.facts.mean, explanation.facts.std)
        panels.append(Panel(picture, f"Hidden by {heading}", ["empty: nothing to hide" if empty else share, *change]))
    return draw_panels(panels)


def _photo(explanation: Explanation) -> Panel:
    if explanation.facts.prompts:
        seen = _named(explanation)[: 1 + _SHOWN]
    else:
        top = int(explanation.logits.argmax())
        (name,) = short_names([explanation.facts.class_name(top)])
        seen = [f"the model says {name} {_strength(explanation, explanation.logits, top)}"]
    return Panel(explanation.photo(), "Photo", [*seen, explanation.facts.name])


def _named(explanation: Explanation) -> list[str]:
    """Return the target and the references, each with its probability or similarity."""
    classes = (explanation.target, *explanation.references)
    names = short_names([explanation.facts.class_name(index) for index in classes])
    logits = explanation.logits
    return [f"{name} {_strength(explanation, logits, index)}" for name, index in zip(names, classes, strict=True)]


def _heading(explanation: Explanation) -> str:
    contrast, title = explanation.contrast, explanation.method.full_title
    if not isinstance(contrast, Contrast):
        return f"{title}, {contrast.name}"
    asked = f"gamma {exactly(contrast.strength)}"
    return f"Finer {title}, {f'reversed, {asked}' if contrast.reverse else asked}"


def _strength(explanation: Explanation, logits: Float[Tensor, " C"], index: int) -> str:
    """Return how strongly the model sees a class: its probability, or a prompt's similarity to the image."""
    if explanation.facts.prompts:
        return f"{float(explanation.facts.similarities(logits)[index]):.3f}"
    probability = float(explanation.facts.probabilities_of(logits)[index])
    return f"{100 * probability:.0f} %" if probability >= 0.01 else f"{100 * probability:.1g} %"


def _is_empty(saliency: Float[Tensor, "H W"]) -> bool:
    return float(saliency.max()) <= 0
