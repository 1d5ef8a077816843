"""Where the evidence of many photos lies, drawn on the frame that they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from finercam.explanations.explaining import preprocess
from finercam.metrics.intervals import FEWEST_TO_JUDGE
from finercam.models import Classifier
from finercam.report.anew import photos_of
from finercam.report.fonts import font
from finercam.report.panels import Panel
from finercam.report.parts import Heading, Paragraph, Part, Strip
from finercam.report.render import as_seen, overlay
from finercam.runs.rows import Rows
from finercam.studies.traits.frames import CELLS, Evidence, Frame, evidence_on, frame_of, on_frame
from finercam.studies.traits.rows import Carried
from finercam.studies.traits.writing import spoken

#: Pixels of a frame's pictures each way; as many photos at most make the mean one, which no more would change.
_SIDE, _MOST = 440, 100
#: A share of the evidence beyond the frame that is told of.
_MUCH = 0.05
_GREY, _INK, _EDGE = 200, "#ffffff", "#000000"
_TEXT, _DOT = 14, 3


def framed(run: Rows, classifier: Classifier | None, rows: Sequence[Carried]) -> Iterator[Part]:
    """Yield the mean evidence over the mean photo; nothing where photos have no frame in common.

    Args:
        run: the run.
        classifier: its model, which says how photos lie in its input; without it there is no mean photo.
        rows: photos that were asked the same question.
    """
    plan = run.described["plan"]
    names, groups = _groups(plan["parts"], plan["places"])
    height, width = run.described["model"]["input"]
    frame = frame_of(rows, (height, width), groups)
    evidence = None if frame is None else evidence_on(rows, frame)
    if frame is None or evidence is None:
        return
    of_points = len(frame.points) > 0
    photo = _mean_photo(run, classifier, rows, frame)
    wide = (_SIDE, max(1, round(_SIDE / frame.aspect)))
    heat = evidence.told if evidence.photos > 1 else evidence.mean
    shown = _labelled(overlay(photo.resized(wide), heat), frame, names)
    yield Heading("The photos laid over each other")
    yield Paragraph(_about(of_points, evidence, len(rows) - sum(one.empty for one in rows)))
    panels = [Panel(shown, "The mean evidence", [_peak(evidence)])]
    if photo.count:
        lines = [f"of {photo.count} photos, where parts are in the mean" if of_points else f"of {photo.count} photos"]
        panels.append(Panel(_labelled(photo.resized(wide), frame, names), "The mean photo", lines))
    yield Strip(panels, size="large")


def _groups(parts: Sequence[str], places: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[int]]]:
    """Return names and part numbers of what is one point of the frame: the parts of a place, else each part.

    A part of several places is counted to the first, so that no two points are the same.
    """
    found: dict[str, list[int]] = {}
    taken: set[str] = set()
    for place, own in places.items():
        left = [number for number, name in enumerate(parts) if name in own and name not in taken]
        if left:
            found[place] = left
            taken |= {parts[number] for number in left}
    found |= {name: [number] for number, name in enumerate(parts) if name not in taken}
    return list(found), list(found.values())


def _about(of_points: bool, evidence: Evidence, known: int) -> str:
    said = (
        "Turned, scaled and mirrored so that the same parts lie over each other; a name stands where that part is in "
        "the mean."
        if of_points
        else "Scaled so that the boxes around what is on them are the same; they are not turned or mirrored."
    )
    kind = "fewer than three parts in sight" if of_points else "no box"
    if evidence.photos < known:
        said += f" {known - evidence.photos} of {known} photos have {kind} and are left out."
    if evidence.outside > _MUCH:
        said += f" {100 * evidence.outside:.0f} % of the evidence lies beyond the frame."
    if evidence.photos > 1:
        said += " Coloured is where the mean over the photos is at least twice its standard error."
    if evidence.agreement == evidence.agreement:
        said += f" The mean maps of two halves of the photos correlate by {evidence.agreement:.2f} (1: the same)"
        said += f", so this picture {_repeats(evidence.agreement)}." if evidence.photos >= FEWEST_TO_JUDGE else "."
    if evidence.photos < FEWEST_TO_JUDGE:
        said += f" Over {evidence.photos} of them nothing can be concluded from this picture."
    return said


def _repeats(agreement: float) -> str:
    if agreement >= 0.8:
        return "would look much the same with other photos"
    return "would look only roughly the same with other photos" if agreement >= 0.5 else "is mostly that of few photos"


def _peak(evidence: Evidence) -> str:
    heat = evidence.told if evidence.photos > 1 else evidence.mean
    if float(heat.max()) <= 0:
        return "nowhere more than a few photos' own"
    dense = f"{float(heat.max()) * CELLS**2:.1f} times as dense as if it lay evenly over the frame"
    return f"of {evidence.photos} photos; brightest: {dense}"


class _MeanPhoto:
    """The mean of photos on their frame; even grey where there are none."""

    def __init__(self) -> None:
        self.total = torch.zeros(3, _SIDE, _SIDE, dtype=torch.float64)
        self.weight = torch.zeros(_SIDE, _SIDE, dtype=torch.float64)
        self.count = 0

    def add(self, picture: Image.Image, place: Float[Tensor, "2 3"]) -> None:
        """Add a photo as the model saw it."""
        pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).double()
        laid = on_frame(torch.cat([pixels, torch.ones_like(pixels[:1])])[None], place[None], _SIDE)[0]
        self.total += laid[:3]
        self.weight += laid[3]
        self.count += 1

    def resized(self, size: tuple[int, int]) -> Image.Image:
        """Return it at a size; grey where no photo reaches."""
        mean = torch.where(self.weight > 0.5, self.total / self.weight.clamp(min=1e-6), _GREY)
        return Image.fromarray(mean.clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()).resize(size)


def _mean_photo(run: Rows, classifier: Classifier | None, rows: Sequence[Carried], frame: Frame) -> _MeanPhoto:
    found = _MeanPhoto()
    if classifier is None:
        return found
    places = {rows[number].key: frame.places[at] for at, number in enumerate(frame.photos[:_MOST])}
    facts = classifier.facts
    for key, photo in photos_of(run, places):
        found.add(as_seen(preprocess(classifier, photo), facts.mean, facts.std), places[key])
    return found


def _labelled(picture: Image.Image, frame: Frame, names: Sequence[str]) -> Image.Image:
    """Return a picture of a frame with the names of its parts, each beside its point and none over another."""
    drawn = ImageDraw.Draw(picture)
    letters = font(_TEXT, bold=True)
    taken: list[tuple[float, float, float]] = []
    points = [(y, x, spoken(name)) for name, (x, y) in zip(names, frame.points.tolist(), strict=False) if x == x]
    for y, x, name in sorted(points):
        at_x, at_y, wide = x * picture.width, y * picture.height, letters.getlength(name)
        drawn.ellipse([at_x - _DOT, at_y - _DOT, at_x + _DOT, at_y + _DOT], fill=_INK, outline=_EDGE)
        left = at_x + 2 * _DOT if at_x + 2 * _DOT + wide < picture.width else at_x - 2 * _DOT - wide
        top = at_y - _TEXT / 2
        while any(left < other[2] and left + wide > other[0] and abs(top - other[1]) < _TEXT for other in taken):
            top += 2
        taken.append((left, top, left + wide))
        drawn.text((left, top - 2), name, font=letters, fill=_INK, stroke_width=2, stroke_fill=_EDGE)
    return picture
