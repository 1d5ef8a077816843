"""Finished maps subtracted, and one map of the subtracted logits: the paper's Fig. 9b."""

from __future__ import annotations

from collections.abc import Sequence

from finercam.contrast.contrast import Contrast, exactly
from finercam.models import Classifier
from finercam.report.album import Album, Shot, answers
from finercam.report.explained import asked_of, model_name, named
from finercam.report.figure import figure
from finercam.report.grid import draw_grid, first_cells, map_cell
from finercam.report.printing import TWO_COLUMNS, Figure, finished


@figure("subtraction", "Subtracting finished maps against Finer-CAM", paper="9b")
def subtraction(
    classifier: Classifier,
    shots: Sequence[Shot],
    album: Album | None = None,
    *,
    gamma: float = 0.6,
    references: int = 1,
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw Grad-CAM of the target, of the most similar class, their difference, and Finer-CAM.

    Args:
        classifier: what is explained.
        shots: a row each.
        album: has examples of the most similar class; without it there are none.
        gamma, references: of the comparison.
        width: in millimetres.
    """
    contrast = Contrast(gamma=gamma, references=references)
    # The reversed question without a comparison: what speaks for the similar classes.
    asked = [
        (contrast, "gradcam"),
        (Contrast(gamma=0.0, references=references, reverse=True), "gradcam"),
        (contrast, "subtraction"),
    ]
    headings = ("Target", "Similar", "Subtracted", "Finer-CAM")
    found = [answers(classifier, shot, asked) for shot in shots]
    rows, said = first_cells([own[0] for own in found], album), []
    for shot, row, (finer, other, subtracted) in zip(shots, rows, found, strict=True):
        over = headings if row is rows[0] else ("",) * len(headings)
        row += [
            map_cell(finer, over[0], saliency=finer.plain),
            map_cell(other, over[1]),
            map_cell(subtracted, over[2]),
            map_cell(finer, over[3]),
        ]
        against = ", ".join(named(finer, index) for index in finer.references)
        said.append(f"{shot.title}: {asked_of(finer)} against {against}")
    return finished(
        draw_grid(rows, width),
        "Grad-CAM of the target and of the most similar class; the one map minus gamma times the other, each rectified "
        f"and scaled first (subtracted); and the map of the difference of the logits (Finer-CAM), gamma "
        f"{exactly(gamma)}, {model_name(classifier.name)}. {'; '.join(said)}.",
    )
