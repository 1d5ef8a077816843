"""Photos for figures: a few to be shown, and examples of other classes to stand beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.data.dataset import Dataset, Item
from finercam.data.original import Original
from finercam.data.photos import Photo
from finercam.data.placement import Placer
from finercam.data.reading import draw
from finercam.errors import FinercamError
from finercam.explanations.explaining import Asked, explain_batch, preprocess
from finercam.explanations.explanation import Explanation
from finercam.models.classifier import Classifier

#: So many times as many photos as are wanted are drawn, for one of each class.
_TIMES = 8


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo to be shown.

    Attributes:
        photo: what ``explain`` takes.
        name: in captions.
        target: the classifier's class that is explained; its prediction if left out.
        concept: words to look for in this photo, where a figure looks for words.
    """

    photo: Photo
    name: str
    target: int | None = None
    concept: str = ""

    @property
    def title(self) -> str:
        """The last part of its name."""
        return last_part(self.name)


@dataclass(frozen=True, eq=False)
class Album:
    """A data set whose classes a classifier knows, all or some of them.

    Attributes:
        dataset: all of its photos, not a sample.
        targets: by label, the classifier's class, or -1.
    """

    dataset: Dataset
    targets: Sequence[int]

    def shots(self, count: int, seed: int = 0) -> list[Shot]:
        """Return photos of known classes, drawn by lot; of as many classes as there are.

        Photos that cannot be opened are passed over.
        """
        drawn = list(draw(self.dataset, _TIMES * count, seed, lambda item: self.targets[item.label] >= 0).items())
        first: dict[int, Item] = {}
        for item in drawn:
            first.setdefault(item.label, item)
        # In the order of the draw, not that of the data, which may begin with one class.
        one_each = list(first.values())
        rest = [item for item in drawn if item not in one_each]
        return self._opened([*one_each, *rest], count)

    def of_class(self, label: int, count: int) -> list[Shot]:
        """Return the first photos of a class of the data set that can be opened."""
        return self._opened((item for item in self.dataset.items() if item.label == label), count)

    def keyed(self, keys: Sequence[str], of_label: bool = True) -> list[Shot]:
        """Return photos by their keys, in that order, with the class of their label or with that of no class.

        Raises:
            FinercamError: one of them is not there.
        """
        items = {item.key: item for item in self.dataset.items() if item.key in set(keys)}
        missing = [key for key in keys if key not in items]
        if missing:
            raise FinercamError(f"{self.dataset.name} has no photo {missing[0]!r}; give the data that was measured")
        found = [self._shot(items[key]) for key in keys]
        return found if of_label else [replace(one, target=None) for one in found]

    def example(self, target: int) -> Image.Image | None:
        """Return a photo of one of the classifier's classes, if there is one."""
        label = next((label for label, known in enumerate(self.targets) if known == target), None)
        found = [] if label is None else self.of_class(label, 1)
        return None if not found else found[0].photo  # type: ignore[return-value]

    def _opened(self, items: Sequence[Item] | Iterator[Item], count: int) -> list[Shot]:
        found: list[Shot] = []
        for item in items:
            if len(found) == count:
                break
            # A study names those that cannot be opened; a figure shows others.
            with suppress(FinercamError):
                found.append(self._shot(item))
        return found

    def _shot(self, item: Item) -> Shot:
        return Shot(self.dataset.open(item).photo, item.key, self.targets[item.label])


def last_part(key: str) -> str:
    """Return the last part of a photo's name, without its folders; a number stays with what is before it."""
    *before, last = key.split("/")
    return "/".join([*before, last]) if last.isdecimal() else last


def answers(classifier: Classifier, shot: Shot, asked: Sequence[tuple[Contrast, str]]) -> list[Explanation]:
    """Return what contrasts and methods answer for a photo, all from one look at the model."""
    image = preprocess(classifier, shot.photo)[None]
    (found,) = explain_batch(
        classifier,
        image,
        [Asked(contrast, shot.target, method) for contrast, method in asked],
        sources=[shot.name],
        originals=[Original(shot.photo, Placer(classifier.preprocessing))],
    )
    return found
