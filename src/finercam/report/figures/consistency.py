"""Photos of one class: does the map point at the same traits in all of them? The paper's Fig. 6a."""

from __future__ import annotations

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import Labels, full_name
from finercam.errors import FinercamError, check_between
from finercam.methods.method import find_method
from finercam.models import Classifier
from finercam.report.album import Album, answers
from finercam.report.explained import model_name, strength_of
from finercam.report.figure import figure
from finercam.report.grid import draw_grid, map_cell, photo_cell
from finercam.report.printing import TWO_COLUMNS, Figure, finished


@figure("consistency", "Photos of one class, with their maps", paper="6a")
def consistency(
    classifier: Classifier,
    album: Album,
    *,
    of: str = "",
    count: int = 6,
    method: str = "gradcam",
    gamma: float = 0.6,
    references: int = 3,
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw photos of one class, and under each its plain and its finer map.

    Args:
        classifier: what is explained.
        album: has the photos.
        of: which class of the data set; the first that the classifier knows if left out.
        count: how many photos at most.
        method: by name, with parameters if need be.
        gamma, references: of the finer maps.
        width: in millimetres.

    Raises:
        FinercamError: no such class, or no photo of it that can be opened.
    """
    check_between("count", count, 1, 20)
    names = album.dataset.class_names
    label = Labels(names).index(of) if of else _first(album)
    target = album.targets[label]
    if target < 0:
        raise FinercamError(f"{classifier.name} does not have the class {names[label]!r}; give another")
    shots = album.of_class(label, count)
    if not shots:
        raise FinercamError(f"{album.dataset.name} has no photo of {names[label]!r} that can be opened")
    contrast = Contrast(gamma=gamma, references=references)
    found = [answers(classifier, shot, [(contrast, method)])[0] for shot in shots]
    title = find_method(method).full_title
    rows = [
        [photo_cell(one, "", [strength_of(one, one.logits, target)]) for one in found],
        [map_cell(one, saliency=one.plain) for one in found],
        [map_cell(one) for one in found],
    ]
    name = full_name(names[label])
    others = dict.fromkeys(full_name(one.facts.class_name(index)) for one in found for index in one.references)
    return finished(
        draw_grid(rows, width, sides=("Photo", "plain", "finer")),
        f"{len(found)} photos of {name}, with the probability of that class by {model_name(classifier.name)}; {title} "
        f"of the class alone (plain) and against the {references} most similar classes of each photo (finer, gamma "
        f"{exactly(gamma)}), which are {', '.join(others)}. Photos: {', '.join(shot.title for shot in shots)}.",
    )


def _first(album: Album) -> int:
    """Return the label of the first photo of a class that the classifier knows."""
    found = next((item.label for item in album.dataset.items() if album.targets[item.label] >= 0), None)
    if found is None:
        raise FinercamError(f"{album.dataset.name} has no photo of a class that the model knows")
    return found
