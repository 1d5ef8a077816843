"""Words found in photos, and hidden in them: the paper's Fig. 2 and 11."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from finercam.contrast.contrast import exactly
from finercam.data.original import Original
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.explanations.concepts import FRACTION, concept_against, hide
from finercam.explanations.explaining import explain_batch, preprocess
from finercam.methods.method import find_method
from finercam.metrics.masking import top_count
from finercam.models.text import BARE, text
from finercam.report.album import Shot
from finercam.report.explained import model_name, shown, strength_of, without
from finercam.report.figure import figure
from finercam.report.grid import EMPTY, Cell, draw_grid, map_cell, photo_cell
from finercam.report.printing import ONE_COLUMN, Figure, finished, one_line


@figure("concept", "A concept in words, highlighted and masked out", paper="2, 11")
def concept(
    shots: Sequence[Shot],
    *,
    clip: str = "",
    concepts: Sequence[str] = (),
    base: str = "bird",
    gamma: float = 0.6,
    fraction: float = FRACTION,
    method: str = "gradcam",
    device: str = "auto",
    width: float = ONE_COLUMN,
) -> Figure:
    """Draw the map of a concept alone, against its base, and the photo with what the latter points at masked out.

    Args:
        shots: a row for each photo and concept; a photo with a concept of its own has one row.
        clip: model of images and text: ``open_clip/NAME/WEIGHTS``, ``transformers/ID``, a folder, ``aviary-clip``.
        concepts: in words.
        base: what they are part of.
        gamma: comparison strength.
        fraction: of the pixels that is masked out.
        method: by name, with parameters if need be.
        device: where the model is loaded.
        width: in millimetres.

    Raises:
        FinercamError: there is no model or no concept, or the model knows no text.
    """
    if not clip:
        raise FinercamError("figure 'concept' needs --clip, a model of images and text")
    wanted = [(shot, one) for shot in shots for one in ([shot.concept] if shot.concept else concepts)]
    if not wanted:
        raise FinercamError("figure 'concept' needs --concept, words to look for")
    top_count(fraction, 1)
    prompts = list(dict.fromkeys([*(one for _, one in wanted), base]))
    classifier = replace(text(clip, prompts, templates=BARE, device=device), prompts=True)
    placer = Placer(classifier.preprocessing)
    rows: list[list[Cell]] = []
    said = []
    for shot, one in wanted:
        ((found,),) = explain_batch(
            classifier,
            preprocess(classifier, shot.photo)[None],
            [concept_against(classifier, one, base, gamma, method)],
            sources=[shot.name],
            originals=[Original(shot.photo, placer)],
        )
        hidden = hide(found, found.saliency, fraction)
        before, after = (strength_of(found, logits, found.target) for logits in (found.logits, hidden.logits))
        over = ("Photo", "Concept alone", f"− {exactly(gamma)} × {base}", "Masked out")
        over = over if not rows else ("",) * 4
        name = f"“{one_line(one)}”"
        picture = without(found, hidden, *shown(found, None))
        rows.append(
            [
                photo_cell(found, over[0], [f"{name} {before}"]),
                map_cell(found, over[1], saliency=found.plain),
                map_cell(found, over[2]),
                Cell(picture, over[3], [f"{before}\xa0→\xa0{after}"], EMPTY if found.empty else ""),
            ]
        )
        said.append(f"{shot.title}: {name}, similarity {before}, {after} with it masked out")
    title, share = find_method(method).full_title, f"{100 * fraction:.3g} %"
    return finished(
        draw_grid(rows, width),
        f"{title} of {model_name(clip)} for a concept alone, and for it minus {exactly(gamma)} times "
        f"“{one_line(base)}”; on the right at most {share} of the pixels, where the latter is largest, are masked out "
        f"in what the model sees. {'; '.join(said)}.",
    )
