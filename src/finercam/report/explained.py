"""The picture of one explanation: photo | the plain CAM | Finer-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import short_names
from finercam.report.panels import Panel, draw_panels
from finercam.report.render import overlay

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

EMPTY = "empty: nothing speaks for it"


def draw_explanation(explanation: Explanation) -> Image.Image:
    """Return the three panels with names, probabilities and gamma. Each map is scaled to its own peak."""
    photo = explanation.photo()
    probabilities = explanation.probabilities
    target, *references = short_names([explanation.target_name, *explanation.reference_names])
    top = int(probabilities.argmax())
    (top_name,) = short_names([explanation.facts.class_name(top)])
    contrast = explanation.contrast
    plain_is_empty = float(explanation.plain.max()) <= 0
    finer = isinstance(contrast, Contrast)
    heading = f"Finer {explanation.method.title}" if finer else explanation.method.title
    asked = f"gamma {contrast.strength:g}" if isinstance(contrast, Contrast) else contrast.name
    if isinstance(contrast, Contrast) and contrast.reverse:
        asked = f"reversed, {asked}"
    against = [
        f"{name} {_percent(float(probabilities[i]))}"
        for name, i in zip(references, explanation.references, strict=True)
    ]
    seen = f"the model says {top_name} {_percent(float(probabilities[top]))}"
    panels = [
        Panel(photo, "Photo", [seen, explanation.facts.name]),
        Panel(
            overlay(photo, explanation.plain),
            explanation.method.title,
            [
                f"why {target} {_percent(float(probabilities[explanation.target]))}",
                EMPTY if plain_is_empty else "alone",
            ],
        ),
        Panel(
            overlay(photo, explanation.saliency),
            f"{heading}, {asked}",
            [*_and_not(against), *([EMPTY] if explanation.empty else [])],
        ),
    ]
    return draw_panels(panels)


def _and_not(against: list[str], shown: int = 3) -> list[str]:
    more = [f"and {len(against) - shown} more"] if len(against) > shown else []
    return [f"and not {against[0]}", *against[1:shown], *more] if against else []


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability >= 0.01 else f"{100 * probability:.1g} %"
