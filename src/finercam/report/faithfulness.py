"""The picture of an examination, after the paper's Fig. 9a: a row of panels for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from finercam.contrast.labels import short_names
from finercam.data.dataset import Dataset
from finercam.errors import FinercamError
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.report.panels import Panel, lay_out
from finercam.report.render import outlined, overlay, resized, shown_size
from finercam.runs.loaded import Loaded
from finercam.studies.faithfulness.examined import Examined
from finercam.studies.faithfulness.examining import Seen
from finercam.studies.faithfulness.rows import LISTED, Row
from finercam.studies.faithfulness.study import Faithfulness, look_again


@dataclass(frozen=True)
class Example:
    """One row of the picture.

    Attributes:
        seen: what was found on the photo, with its maps.
        photo: as it was opened.
        target, other: names of its class and of the class it is compared with.
        other_photo: a photo of that class, if there is one.
    """

    seen: Seen
    photo: Image.Image
    target: str
    other: str
    other_photo: Image.Image | None = None


def draw_examples(examples: Sequence[Example], most: int = 3, side: int = 220) -> Image.Image:
    """Return photo | similar class | the classifier's map | each listed attribute, for each example.

    Photos are shown in their own aspect, with the maps laid on them; what a model did not see is hatched. An
    attribute's panel shows the text model's map, or, without one, an outline of the places where it is seen on the
    classifier's map. Under it stand the alignment, chance and the verdict on this photo.

    Args:
        examples: at least one.
        most: attributes per row.
        side: photos have as many pixels as a square of this side.
    """
    rows = [lay_out(panels_of(one, most, side)).image() for one in examples]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "#ffffff")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def examples_of(
    study: Faithfulness,
    model: Loaded[Classifier],
    run: Run,
    dataset: Dataset,
    examined: Sequence[Examined],
    count: int,
) -> list[Example]:
    """Return a few photos with their maps, which are made again: rows hold numbers only.

    One of each pair of classes, rather one that is correctly classified.

    Args:
        study, model, run, dataset: what was examined, and how.
        examined: what was found.
        count: how many at most.
    """
    # What is left out of a sample has others in its place.
    dataset = dataset if dataset.sample is None else dataset.sample.whole
    chosen: dict[tuple[int, int], Examined] = {}
    for one in sorted(examined, key=lambda one: not one.correct):
        chosen.setdefault((one.target, one.other), one)
    shown = list(chosen.values())[:count]
    photos = _first_photos(dataset, {one.other for one in shown})
    examples = []
    for seen, photo in look_again(study, model, run, dataset, [one.key for one in shown]):
        labels = seen.examined.target, seen.examined.other
        target, other = short_names([dataset.class_names[label] for label in labels])
        examples.append(Example(seen, photo, target, other, photos.get(labels[1])))
    return examples


def _first_photos(dataset: Dataset, labels: set[int]) -> dict[int, Image.Image]:
    """Return the first photo of each of some classes that can be opened, if there is one."""
    found: dict[int, Image.Image] = {}
    for item in dataset.items():
        if item.label in labels - found.keys():
            # One that cannot be opened was named before, or is not among the photos of the run.
            with suppress(FinercamError):
                found[item.label] = dataset.open(item).photo
    return found


def panels_of(example: Example, most: int, side: int) -> list[Panel]:
    """Return the panels of one row; the arguments are those of ``draw_examples``."""
    seen, one = example.seen, example.seen.examined
    photo = _fitted(example.photo, side)
    saliency, placement = seen.saliency
    placed = placement.resized(photo.size)
    heat = overlay(photo, placed.to_photo(saliency))
    panels = [Panel(photo, example.target, ["correctly classified" if one.correct else "misclassified"])]
    if example.other_photo is not None:
        panels.append(Panel(_fitted(example.other_photo, side), example.other, ["what it is compared with"]))
    lines = ["empty: nothing speaks for it"] if one.empty else [f"and not {example.other}"]
    if one.off == one.off:
        lines.append(f"{100 * one.off:.0f} % off the object")
    panels.append(Panel(heat, "Classifier", lines))
    for row in [row for row in one.rows if row.status == LISTED and not row.of_place][:most]:
        if row.words in seen.words:
            found, where = seen.words[row.words]
            picture = overlay(photo, where.resized(photo.size).to_photo(found.relu()))
        else:
            picture = heat
            for mask in (seen.places[place] for place in row.places if place in seen.places):
                # As wide on paper, however many pixels a picture has.
                picture = outlined(picture, placed.mask_to_photo(mask).numpy(), width=max(3, side // 60))
        panels.append(Panel(picture, row.words, _numbers(row, bool(seen.words))))
    return panels


def _numbers(row: Row, in_words: bool) -> list[str]:
    if in_words:
        return [f"rank correlation {row.alignment:.2f}", f"chance {row.chance:.2f}: {row.verdict}"]
    return [f"{100 * row.alignment:.1f} % of the saliency", f"chance {100 * row.chance:.1f} %: {row.verdict}"]


def _fitted(photo: Image.Image, side: int) -> Image.Image:
    return resized(photo, shown_size(photo.size, side=side))
