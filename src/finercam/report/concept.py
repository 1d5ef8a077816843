"""The picture of a concept in a photo: photo | the concept alone | the concept against the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.report.panels import Panel, draw_panels
from finercam.report.render import as_seen, overlay

if TYPE_CHECKING:
    from finercam.explanations.concepts import FoundConcept, Hidden


def draw_concept(found: FoundConcept) -> Image.Image:
    """Return the photo, where the concept alone is, and where it is against the base; each map to its own peak."""
    photo, seen = _photo(found)
    alone = ["alone", *(["empty: nothing speaks for it"] if _is_empty(found.plain) else [])]
    against = [f"and not {found.base}", *([found.why_empty] if found.empty else [])]
    title = found.method.title
    panels = [
        Panel(photo, "Photo", seen),
        Panel(overlay(photo, found.plain), title, [found.concept, *alone]),
        Panel(overlay(photo, found.saliency), f"Finer {title}, gamma {found.gamma:g}", [found.concept, *against]),
    ]
    return draw_panels(panels)


def draw_hidden(found: FoundConcept, by_plain: Hidden, by_contrast: Hidden) -> Image.Image:
    """Return the photo, and the photo with the concept hidden where either map has it (the paper's Fig. 2).

    Args:
        found: the concept.
        by_plain: hidden by the map of the concept alone.
        by_contrast: hidden by the map of the concept against the base.
    """
    photo, seen = _photo(found)
    title = found.method.title
    panels = [Panel(photo, "Photo", seen)]
    for heading, hidden, empty in (
        (f"Hidden by {title}", by_plain, "empty: nothing to hide" if _is_empty(found.plain) else ""),
        (f"Hidden by Finer {title}, gamma {found.gamma:g}", by_contrast, found.why_empty),
    ):
        share = f"{100 * float(hidden.mask.float().mean()):.2g} % of the pixels are hidden"
        change = [
            f"similarity {found.similarity:.3f} → {hidden.similarity:.3f} to {found.concept}",
            f"{found.base_similarity:.3f} → {hidden.base_similarity:.3f} to {found.base}",
        ]
        panels.append(Panel(_as_seen(found, hidden.image), heading, [empty or share, *change]))
    return draw_panels(panels)


def _photo(found: FoundConcept) -> tuple[Image.Image, list[str]]:
    similar = [f"similarity {found.similarity:.3f} to {found.concept}", f"{found.base_similarity:.3f} to {found.base}"]
    return _as_seen(found, found.image), [*similar, found.classifier.name]


def _as_seen(found: FoundConcept, image: Float[Tensor, "3 H W"]) -> Image.Image:
    return as_seen(image, found.classifier.mean, found.classifier.std)


def _is_empty(saliency: Float[Tensor, "H W"]) -> bool:
    return float(saliency.max()) <= 0
