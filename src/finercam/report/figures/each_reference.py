"""One photo against each of its similar classes, and against all of them: the paper's Fig. 7."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from finercam.contrast.contrast import PLAIN, Contrast, exactly
from finercam.methods.method import find_method
from finercam.models import Classifier
from finercam.report.album import Album, Shot, answers
from finercam.report.explained import named
from finercam.report.figure import figure
from finercam.report.grid import Cell, draw_grid, map_cell, photo_cell
from finercam.report.printing import TWO_COLUMNS, finished


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
        row = [map_cell(plain, "None", [named(plain, plain.target)])]
        row += [map_cell(one, "Against", [named(one, one.references[0])]) for one in alone]
        row.append(map_cell(together, f"Against all {len(alone)}"))
        if album is not None:
            examples = [album.example(one.references[0]) for one in alone]
            rows.append([photo_cell(plain, "Photo"), *map(Cell, examples)])
            row = [row[0], *(_bare(cell) for cell in row[1:-1]), row[-1]]
        else:
            row = [photo_cell(plain, "Photo"), *row]
        rows.append(row)
        against = ", ".join(named(one, one.references[0]) for one in alone)
        said.append(f"{shot.name}: {named(plain, plain.target)}; similar classes: {against}")
    return finished(
        draw_grid(rows, width),
        f"{find_method(method).full_title} of the target alone (none), against each of its {len(ranks)} most similar "
        f"classes and against all of them together, gamma {exactly(gamma)}, {classifier.name}. {'; '.join(said)}.",
    )


def _bare(cell: Cell) -> Cell:
    """Return the cell under an example, which stands for its heading."""
    return Cell(cell.picture, "", cell.lines, cell.mark, cell.peak, cell.hatched)
