"""One photo against each of its similar classes, and against all of them: the paper's Fig. 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from finercam.contrast.contrast import PLAIN, Contrast, exactly
from finercam.methods.method import find_method
from finercam.models import Classifier
from finercam.report.album import Album, Shot, answers
from finercam.report.explained import asked_of, briefly, model_name, named
from finercam.report.figure import figure
from finercam.report.grid import Cell, draw_grid, map_cell, missing, photo_cell
from finercam.report.printing import TWO_COLUMNS, Figure, finished


@figure("each-reference", "One photo against each similar class", paper="7")
def each_reference(
    classifier: Classifier,
    shots: Sequence[Shot],
    album: Album | None = None,
    *,
    method: str = "gradcam",
    gamma: float = 0.6,
    references: int = 3,
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw the plain map, the map against each of the similar classes alone, and that against all of them.

    Args:
        classifier: what is explained.
        shots: each has a row of maps, and with an album one of examples above it.
        album: has examples of the similar classes.
        method: by name, with parameters if need be.
        gamma: of the comparisons.
        references: how many similar classes.
        width: in millimetres.
    """
    # Fewer classes have fewer ranks.
    ranks = range(1, min(references, classifier.classes - 1) + 1)
    asked = [Contrast(f"similar@{rank}", gamma=gamma) for rank in ranks]
    asked = [PLAIN, *asked, Contrast(gamma=gamma, references=references)]
    rows: list[list[Cell]] = []
    said = []
    for shot in shots:
        plain, *alone, together = answers(classifier, shot, [(contrast, method) for contrast in asked])
        photo = photo_cell(plain, "Photo", [briefly(plain, plain.target)])
        maps = [
            map_cell(plain, "Alone"),
            *(map_cell(one) for one in alone),
            map_cell(together, f"Against all {len(alone)}"),
        ]
        names = [briefly(one, one.references[0]) for one in alone]
        examples = [None if album is None else album.example(one.references[0]) for one in alone]
        if any(example is not None for example in examples):
            above = [
                missing(photo.picture, "Against", [name]) if example is None else Cell(example, "Against", [name])
                for example, name in zip(examples, names, strict=True)
            ]
            rows += [[photo, *above], maps]
        else:
            maps[1:-1] = [
                replace(cell, heading="Against", lines=[name]) for cell, name in zip(maps[1:-1], names, strict=True)
            ]
            rows.append([photo, *maps])
        against = ", ".join(named(one, one.references[0]) for one in alone)
        said.append(f"{shot.title}: {asked_of(plain)}; similar classes: {against}")
    return finished(
        draw_grid(rows, width),
        f"{find_method(method).full_title} of the target alone, against each of its {len(ranks)} most similar "
        f"classes and against all of them together, gamma {exactly(gamma)}, {model_name(classifier.name)}. "
        f"{'; '.join(said)}.",
    )
