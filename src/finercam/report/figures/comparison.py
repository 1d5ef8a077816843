"""Methods side by side, plain and finer, on a few photos: the paper's Fig. 4 and 12."""

from __future__ import annotations

from collections.abc import Sequence

from finercam.contrast.contrast import Contrast, exactly
from finercam.methods.method import find_method
from finercam.models import Classifier
from finercam.report.album import Album, Shot, answers
from finercam.report.explained import asked_of, model_name, named
from finercam.report.figure import figure
from finercam.report.grid import draw_grid, first_cells, map_cell
from finercam.report.printing import TWO_COLUMNS, Figure, finished


@figure("comparison", "Photos x methods, plain and finer, with the most similar class", paper="4, 12")
def comparison(
    classifier: Classifier,
    shots: Sequence[Shot],
    album: Album | None = None,
    *,
    methods: Sequence[str] = ("gradcam", "layercam", "scorecam"),
    gamma: float = 0.6,
    references: int = 3,
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw each photo, an example of the most similar class, and each method's plain and finer map.

    Args:
        classifier: what is explained.
        shots: a row each.
        album: has the examples; without it there are none.
        methods: by name, with parameters if need be.
        gamma, references: of the finer maps.
        width: in millimetres.
    """
    contrast = Contrast(gamma=gamma, references=references)
    found = [answers(classifier, shot, [(contrast, method) for method in methods]) for shot in shots]
    rows, said = first_cells([own[0] for own in found], album), []
    for shot, row, own in zip(shots, rows, found, strict=True):
        first, over = own[0], ("plain", "finer") if row is rows[0] else ("", "")
        for one in own:
            row += [map_cell(one, over[0], saliency=one.plain), map_cell(one, over[1])]
        against = ", ".join(named(first, index) for index in first.references)
        said.append(f"{shot.title}: {asked_of(first)} against {against}")
    titles = [find_method(method).full_title for method in methods]
    drawn = draw_grid(rows, width, groups=[("", len(rows[0]) - 2 * len(titles)), *((title, 2) for title in titles)])
    return finished(
        drawn,
        f"Maps of {', '.join(titles)} for the target alone (plain) and against its {references} most similar classes "
        f"(finer, gamma {exactly(gamma)}) of {model_name(classifier.name)}; below the photos the target "
        f"and the most similar class, with their probabilities. Each map is shown up to its own peak. "
        f"{'; '.join(said)}.",
    )
