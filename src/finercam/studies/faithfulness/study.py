"""Does the classifier look at what tells two classes apart? (arXiv 2501.11309, Sections 4.3 and A.2)

For each photo the map of its class c against the most similar class d is compared with the attributes in which c leads
d most. Where an attribute is on the photo a model of images and text says (its map of "red wings"
against "bird"), or, without one, the places of the body: part points or masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.data.attributes import Attributes
from finercam.data.dataset import Dataset, Item
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.runs.clock import Clock
from finercam.runs.loaded import Loaded, of_text
from finercam.runs.manifest import Entry
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Study
from finercam.studies.faithfulness.examined import SCHEMA, read_examined
from finercam.studies.faithfulness.examining import Examiner, Photo, Seen
from finercam.studies.faithfulness.subjects import Places
from finercam.studies.faithfulness.verdicts import Judgement, judge, judge_pairs
from finercam.studies.faithfulness.wording import Words
from finercam.studies.places import outline_on
from finercam.texts import storable


@dataclass(frozen=True, eq=False)
class Faithfulness(Study[Classifier, Photo]):
    """Compares a classifier's maps on a data set's photos with the attributes of its classes.

    Args:
        places: what finds the places of the classes' attributes on photos.
        targets: the classifier's class for each label, -1 where it has none.
        words: a text model's maps; places of the body if left out.
        against: compare all photos with the class of this label; if left out each with the most similar class, that
            of the nearest logit among those with attributes. Photos of that very class are passed over.
        method, gamma: how maps are made.
        count: how many attributes are listed.
    """

    name: ClassVar[str] = "faithfulness"
    row_key: ClassVar[tuple[str, ...]] = ("name",)

    places: Places
    targets: tuple[int, ...]
    words: Words | None = None
    against: int | None = None
    method: str = "gradcam"
    gamma: float = 0.6
    count: int = 3

    def __post_init__(self) -> None:
        # Out of range it is refused here, and not photo by photo.
        Contrast(gamma=self.gamma)

    @property
    def attributes(self) -> Attributes:
        """The attributes of the classes, in the order of the labels."""
        return self.places.attributes

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        names = self.attributes.class_names
        return {
            "attributes": of_text(repr((self.attributes.attributes, self.attributes.strengths.tolist()))),
            "rivals": of_text(repr([self.rivals(label) for label in range(len(names))])),
            "text model": None if self.words is None else self.words.settings(),
            "against": None if self.against is None else names[self.against],
            "method": find_method(self.method).spec,
            "gamma": self.gamma,
            "listed": self.count,
        }

    def schema(self) -> pa.Schema:
        """Return the columns of a photo and of an attribute or place (``Examined``, ``Row``)."""
        return SCHEMA

    def uses(self) -> Iterable[Any]:
        """Return the method's functions and the text model's maps."""
        return [*find_method(self.method).functions, *([] if self.words is None else [self.words])]

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise unless some photo has a class to be compared with."""
        known = sorted({item.label for item in dataset.items() if self.targets[item.label] >= 0})
        if not any(self.rivals(label) for label in known):
            names = ", ".join(self.attributes.class_names[label] for label in known[:3])
            raise FinercamError(
                f"the photos are of {names or 'no class that the classifier knows'}, and there is no other class to "
                "compare them with: the classifier must know two classes of the data set that differ"
            )

    def takes(self, item: Item, target: int) -> bool:
        """Return whether there is a class to compare the photo with."""
        return target >= 0 and bool(self.rivals(item.label))

    def rivals(self, label: int) -> list[int]:
        """Return the labels of the classes that photos of a label may be compared with."""
        allowed = self.attributes.alike[label] if self.against is None else (self.against,)
        return [other for other in allowed if self.targets[other] not in (-1, self.targets[label])]

    def prepare(self, opened: Opened) -> Photo:
        """Return the photo with its outline and places in the classifier's input."""
        example, placement = opened.example, opened.placement
        outline = outline_on(example, placement)
        sight = self.places.on(opened.item.label, example, placement)
        picture = None if self.words is None else example.photo
        return Photo(
            opened.entry, opened.image, placement, None if outline is None else outline.numpy(), sight, picture
        )

    def start(self, bench: Bench[Classifier]) -> Examiner:
        """Return what examines batches."""
        return Examiner(self, bench)

    def summary(self, rows: Rows) -> list[Judgement]:
        """Return what was found on all photos, then on those of each class against each other one."""
        examined = read_examined(rows)
        return [judge(examined), *judge_pairs(examined)]


def look_again(
    study: Faithfulness, model: Loaded[Classifier], run: Run, dataset: Dataset, keys: Sequence[str]
) -> list[tuple[Seen, Image.Image]]:
    """Return what was found on a few photos with their maps, and the photos, in the order of the keys.

    They are looked at again: rows hold numbers only.
    """
    examiner = study.start(Bench(model.model, run, study.targets, Clock()))
    # As rows have them.
    items = {storable(item.key): item for item in dataset.items() if storable(item.key) in keys}
    placer = Placer(model.preprocessing)
    found = []
    for item in (items[key] for key in keys):
        entry = Entry(0, item, study.targets[item.label])
        opened = Opened(entry, dataset.open(item), model.preprocessing, placer)
        found += [(seen, opened.example.photo) for seen in examiner.look([study.prepare(opened)])]
    return found
