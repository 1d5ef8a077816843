"""What more and more comparison does, beyond 1 and reversed: the paper's Fig. 8 and 13."""

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

#: The paper's (Fig. 8), its extrapolation (Fig. 13) and the plain map.
GAMMAS = (0.0, 0.3, 0.6, 1.0, 2.0)


@figure("sweep", "One photo at several strengths: none, extrapolated, reversed", paper="8, 13")
def sweep(
    classifier: Classifier,
    shots: Sequence[Shot],
    album: Album | None = None,
    *,
    method: str = "gradcam",
    gammas: Sequence[float] = GAMMAS,
    references: int = 1,
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw each photo with its maps from plain (gamma 0) to extrapolation, and with the reversed one (gamma 1).

    Args:
        classifier: what is explained.
        shots: a row each.
        album: has examples of the most similar class; without it there are none.
        method: by name, with parameters if need be.
        gammas: strengths.
        references: how many classes are compared with; the paper's is one here.
        width: in millimetres.
    """
    asked = [Contrast(gamma=gamma, references=references) for gamma in gammas]
    asked.append(Contrast(gamma=1.0, references=references, reverse=True))
    headings = [f"γ = {exactly(gamma)}" for gamma in gammas] + ["reversed"]
    found = [answers(classifier, shot, [(contrast, method) for contrast in asked]) for shot in shots]
    # All compare with the same classes; the plain map, with none.
    rows, said = first_cells([own[-1] for own in found], album), []
    for shot, row, own in zip(shots, rows, found, strict=True):
        last = own[-1]
        over = headings if row is rows[0] else [""] * len(own)
        row += [map_cell(one, heading) for one, heading in zip(own, over, strict=True)]
        against = ", ".join(named(last, index) for index in last.references)
        said.append(f"{shot.title}: {asked_of(last)} against {against}")
    return finished(
        draw_grid(rows, width),
        f"{find_method(method).full_title} of the target minus γ times the most similar class"
        f"{'' if references == 1 else 'es'}, for γ = {', '.join(map(exactly, gammas))}, and reversed: what speaks for "
        f"the similar class and not for the target (γ = 1). γ = 0 is the plain map, γ above 1 extrapolates. "
        f"{model_name(classifier.name)}. {'; '.join(said)}.",
    )
