"""Does the classifier look at what tells two classes apart? (arXiv 2501.11309, Sections 4.3 and A.2)

For each photo the map of its class c against the most similar class d is held against the attributes in which c is
furthest ahead of d. Where an attribute is on the photo a model of images and text says (its map of "red wings"
against "bird"), or, without one, the places of the body: part points or masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.attributes import Attributes
from finercam.data.dataset import Dataset, Example, Item
from finercam.data.placement import Placement
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, rows_for
from finercam.methods.method import find_method
from finercam.metrics.localization import widened
from finercam.models.classifier import Classifier
from finercam.runs.loaded import of_text
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Prepared, Study
from finercam.studies.faithfulness.aligning import carried
from finercam.studies.faithfulness.examined import SCHEMA, Examined, read_examined, to_rows
from finercam.studies.faithfulness.rows import (
    LISTED,
    Pair,
    Placed,
    asked_in_words,
    evenly,
    found_by_words,
    rows_of_places,
    rows_of_words,
    share,
)
from finercam.studies.faithfulness.subjects import Places, Sight
from finercam.studies.faithfulness.verdicts import Judgement, judge, judge_pairs
from finercam.studies.faithfulness.wording import Words

CELLS_BEYOND = 1.5
"""How far around the object, in cells of the map, saliency is not counted as off it. A cell whose centre is half a
cell outside still sees the object's edge, and resizing smears it by another cell."""


@dataclass(frozen=True, eq=False)
class Photo(Prepared):
    """A photo ready to be examined.

    Attributes:
        placement: how it lies in the classifier's input.
        outline: the object's pixels, those of its mask, else of its box; ``None`` where neither is known.
        sight: the places of the body.
        picture: as it was opened, where a text model is to look at it.
    """

    placement: Placement
    outline: Bool[NDArray[Any], "H W"] | None
    sight: Sight
    picture: Image.Image | None


@dataclass(frozen=True, eq=False)
class Seen:
    """One photo with its maps, for a picture.

    Attributes:
        examined: what was found.
        image: as the classifier was given it.
        saliency: the contrast's, and how the photo lies in it.
        words: by phrase the text model's maps.
        places: the pixels of each place in sight.
    """

    examined: Examined
    image: Float[Tensor, "3 H W"]
    saliency: Placed
    words: Mapping[str, Placed]
    places: Mapping[str, Bool[Tensor, "H W"]]


@dataclass(frozen=True, eq=False)
class Faithfulness(Study[Classifier, Photo]):
    """Holds a classifier's maps on a data set's photos against the attributes of its classes.

    Args:
        places: what finds the places of the classes' attributes on photos.
        targets: the classifier's class for each label, -1 where it has none.
        words: a text model's maps; places of the body if left out.
        against: hold all photos against this label; if left out each against the most similar class, that of the
            nearest logit among those with attributes. Photos of that very class are passed over.
        method, gamma: how maps are made.
        count: how many attributes are listed.
    """

    name = "faithfulness"
    row_key = ("name",)

    places: Places
    targets: tuple[int, ...]
    words: Words | None = None
    against: int | None = None
    method: str = "gradcam"
    gamma: float = 0.6
    count: int = 3

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
        how = find_method(self.method)
        return [one for one in (how.gatherer, how.function, self.words) if one is not None]

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise unless some photo has a class to be held against."""
        known = sorted({item.label for item in dataset.items() if self.targets[item.label] >= 0})
        if not any(self.rivals(label) for label in known):
            names = ", ".join(self.attributes.class_names[label] for label in known[:3])
            raise FinercamError(
                f"the photos are of {names or 'no class that the classifier knows'}, and there is no other class to "
                "hold them against: the classifier must know two classes of the data set that differ"
            )

    def takes(self, item: Item, target: int) -> bool:
        """Return whether there is a class to hold the photo against."""
        return target >= 0 and bool(self.rivals(item.label))

    def rivals(self, label: int) -> list[int]:
        """Return the labels that photos of a label may be held against."""
        allowed = self.attributes.alike[label] if self.against is None else (self.against,)
        return [other for other in allowed if self.targets[other] not in (-1, self.targets[label])]

    def prepare(self, opened: Opened) -> Photo:
        """Return the photo with its outline and places in the classifier's input."""
        example, placement = opened.example, opened.placement
        outline = _outline(example, placement)
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


@dataclass(frozen=True, eq=False)
class Examiner:
    """Examines batches of photos."""

    study: Faithfulness
    bench: Bench[Classifier]

    def __call__(self, batch: Sequence[Photo]) -> list[list[dict[str, Any]]]:
        """Return the rows of each photo."""
        return [to_rows(one.examined) for one in self.look(batch)]

    def look(self, batch: Sequence[Photo]) -> list[Seen]:
        """Return what was found on each photo, with the maps it was found by: one run of each model."""
        study, classifier, run = self.study, self.bench.model, self.bench.run
        how = find_method(study.method)
        images = torch.from_numpy(np.stack([one.image for one in batch]))
        own = [study.targets[one.entry.item.label] for one in batch]
        with self.bench.clock("model"), classifier.look(images, run, at=how.taps(classifier)) as look:
            logits = look.logits
            others = [self._nearest(one.entry.item.label, row) for one, row in zip(batch, logits.tolist(), strict=True)]
            contrast = Contrast(against=[[study.targets[other]] for other in others], gamma=study.gamma)
            questions = ask(classifier, logits, [PLAIN, contrast], own)
            evidence = how.gather(look, rows_for(look, questions))
            plain, finer = (answer(evidence, question) for question in questions)
        cells = (finer.maps.shape[1], finer.maps.shape[2])
        named = logits.argmax(1).tolist()
        words = self._words(batch, others)
        with self.bench.clock("measures"):
            found = []
            for i, one in enumerate(batch):
                maps = [each.saliency[i].detach().float().cpu() for each in (finer, plain)]
                pair = Pair(one.entry.item.key, one.entry.item.label, others[i])
                found.append(self._photo(one, pair, named[i] == own[i], maps[0], maps[1], cells, words[i]))
            return found

    def _nearest(self, label: int, logits: Sequence[float]) -> int:
        targets = self.study.targets
        own = logits[targets[label]]
        return min(self.study.rivals(label), key=lambda other: abs(logits[targets[other]] - own))

    def _words(self, batch: Sequence[Photo], others: Sequence[int]) -> list[dict[str, Placed]]:
        """Return the text model's maps of what is asked of each photo."""
        study = self.study
        if study.words is None:
            return [{} for _ in batch]
        pictures, phrases = [], []
        for one, other in zip(batch, others, strict=True):
            pair = Pair(one.entry.item.key, one.entry.item.label, other)
            asked = asked_in_words(study.attributes, pair, study.count)
            assert one.picture is not None
            pictures.append(one.picture)
            phrases.append([attribute.phrase for attribute, _, _ in asked if attribute.phrase])
        with self.bench.clock("text model"):
            return study.words.maps(pictures, phrases, self.bench.run)

    def _photo(
        self,
        one: Photo,
        pair: Pair,
        correct: bool,
        saliency: Tensor,
        plain: Tensor,
        cells: tuple[int, int],
        words: Mapping[str, Placed],
    ) -> Seen:
        study, attributes = self.study, self.study.attributes
        outline = None if one.outline is None else torch.from_numpy(one.outline)
        places = one.sight.against(pair.other)
        even = evenly(torch.ones_like(saliency, dtype=torch.bool) if outline is None else outline, cells)
        if study.words is None:
            rows = rows_of_places(pair, attributes, places, saliency, plain, even, study.count)
        else:
            own = ((saliency, one.placement), (plain, one.placement))
            over = {phrase: carried(*placed, one.placement).float().relu() for phrase, placed in words.items()}
            rows = [
                replace(
                    row,
                    found=found_by_words(
                        over[row.words], [places[place] for place in row.places if place in places], even
                    ),
                )
                for row in rows_of_words(pair, attributes, words, *own, study.count)
            ]
        listed = {place for row in rows if row.status == LISTED for place in row.places}
        off, off_plain, off_area = math.nan, math.nan, math.nan
        if outline is not None and bool(outline.any()):
            cell = max(size / number for size, number in zip(saliency.shape, cells, strict=True))
            outside = ~widened(outline[None], CELLS_BEYOND * cell)[0]
            off_area = float(outside.float().mean())
            if bool(outside.any()):
                off, off_plain = share(saliency, [outside]), share(plain, [outside])
        examined = Examined(
            pair.key, pair.target, pair.other, correct, tuple(rows), off, off_plain, off_area,
            share(saliency, [mask for place, mask in places.items() if place in listed]),
            float(saliency.max()) <= 0,
        )  # fmt: skip
        return Seen(examined, torch.from_numpy(one.image), (saliency, one.placement), words, places)


def _outline(example: Example, placement: Placement) -> Bool[Tensor, "H W"] | None:
    """Return the object's pixels: those of its mask, else of its box."""
    if example.mask is not None:
        return placement.mask(example.mask)
    return None if example.box is None else placement.box(example.box)
