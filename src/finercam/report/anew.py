"""Photos of a run looked at again, as they were when it was measured: rows hold numbers only."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.data.dataset import Dataset, Item
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.explanations.explaining import explain
from finercam.explanations.explanation import Explanation
from finercam.models import Classifier, load
from finercam.models.run import Run
from finercam.runs.loaded import of_weights
from finercam.runs.rows import Rows
from finercam.texts import storable

#: By how much a photo's probability may differ when it is explained anew, on another device for one.
_SAME = 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """What a photo was asked in a run, and how sure the model was.

    Attributes:
        key: of the photo in its data set.
        target: the class that was asked about, by index.
        confidence: its probability.
        method, contrast: the question and how it was answered.
    """

    key: str
    target: int
    confidence: float
    method: str
    contrast: Contrast


def explained_anew(
    run: Rows, photos: Sequence[Measured], classifier: Classifier | None = None
) -> tuple[list[Explanation], list[str]]:
    """Return some photos of a run explained anew by its model, with their evidence, and what stood in the way.

    Nothing is shown that is not what was measured: the model must have the weights of the run, and the photo the
    probability that it had.

    Args:
        run: the rows.
        photos: what was asked of them.
        classifier: what ``model_of`` returned, if that is known.
    """
    try:
        opened = _explained(run, model_of(run) if classifier is None else classifier, photos)
    except (FinercamError, OSError) as error:
        return [], [f"The photos cannot be explained anew: {error}."]
    found, problems = [], []
    for photo in photos:
        one = opened.get(photo.key)
        if isinstance(one, Explanation):
            found.append(one)
        else:
            problems.append(f"{photo.key} is not shown: {one or 'it is not in the data set any more'}.")
    return found, problems


def model_of(run: Rows) -> Classifier:
    """Return the model of a run.

    Raises:
        FinercamError: it cannot be loaded, or is another one now.
    """
    described = run.described["model"]
    name, layers, rank = described["name"], described["layers"], described.get("rank")
    classifier = load(name, rank=rank)
    if list(classifier.layers) != layers:
        classifier = load(name, layer=layers, rank=rank)
    if of_weights(classifier.module) != described["weights"]:
        raise FinercamError(f"the model {name} has other weights now than in the run")
    return classifier


def photos_of(run: Rows, keys: Collection[str]) -> Iterator[tuple[str, Image.Image]]:
    """Yield the photos of a run with these keys that can still be opened, in the order of the data set.

    Raises:
        FinercamError: the data set cannot be read any more.
    """
    for key, data, item in _items(run, keys):
        try:
            yield key, data.open(item).photo
        except FinercamError:
            # The run had it; what is shown of the others is as true without it.
            continue


def _items(run: Rows, keys: Collection[str]) -> Iterator[tuple[str, Dataset, Item]]:
    """Yield items of a run's data set, whichever split they are in, by the keys that rows have."""
    missing = set(keys)
    for split in ("test", "train"):
        data = read_dataset(run.described["data"]["name"], split)
        for item in data.items():
            if not missing:
                return
            if (key := storable(item.key)) in missing:
                missing.remove(key)
                yield key, data, item


def _explained(run: Rows, classifier: Classifier, photos: Sequence[Measured]) -> dict[str, Explanation | str]:
    """Return each photo that is found explained, or why it is not."""
    wanted = {photo.key: photo for photo in photos}
    found: dict[str, Explanation | str] = {}
    for key, data, item in _items(run, wanted):
        photo = wanted[key]
        try:
            one = explain(
                classifier,
                data.open(item).photo,
                photo.target,
                contrast=photo.contrast,
                method=photo.method,
                keep=True,
                run=Run(run.described["plan"]["precision"]),
            )
        except FinercamError as error:
            found[key] = str(error)
            continue
        if abs(float(one.probabilities[photo.target]) - photo.confidence) > _SAME:
            found[key] = "the model answers otherwise than when it was measured, so the photo has changed"
        else:
            found[key] = replace(one, source=key)
    return found
