"""Does the classifier look at what tells two classes apart? (arXiv 2501.11309, Sections 4.3 and A.2)

For each photo the map of its class c against the most similar class d is held against the attributes in which c is
furthest ahead of d. Where an attribute is on the photo a model of images and text says (its map of "red wings"
against "bird"), or, without one, the places of the body: part points or masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.dataset import Example, Item
from finercam.data.placement import Placement, Placer
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, gather
from finercam.explanations.explaining import preprocess
from finercam.methods.evidence import forward
from finercam.methods.method import find_method
from finercam.metrics.localization import widened
from finercam.models import Classifier
from finercam.models.undisturbed import undisturbed
from finercam.studies.faithfulness.aligning import carried
from finercam.studies.faithfulness.rows import (
    LISTED,
    Pair,
    Placed,
    Row,
    asked_in_words,
    evenly,
    found_by_words,
    rows_of_places,
    rows_of_words,
    share,
)
from finercam.studies.faithfulness.subjects import Subject

CELLS_BEYOND = 1.5
"""How far around the object, in cells of the map, saliency is not counted as off it. A cell whose centre is half a
cell outside still sees the object's edge, and resizing smears it by another cell."""

#: Given a photo and phrases: for each a text model's map over its own input, and how the photo lies in that.
Words = Callable[[Image.Image, Sequence[str]], Mapping[str, Placed]]


@dataclass(frozen=True, eq=False)
class Examined:
    """One photo.

    Attributes:
        item: the photo's.
        target, other: labels of its class and of the class it is held against.
        correct: whether the classifier named it rightly.
        rows: of attributes and places.
        off: share of saliency off the object, 0 to 1 (see ``CELLS_BEYOND``); NaN where its outline is not known.
        off_plain: the same of the map without the comparison.
        off_area: share of the input that counts as off the object: what a map that knows nothing has.
        on_listed: share of saliency on all places of the listed attributes; NaN where none is in sight.
        empty: whether the map is zero.
        image: as the classifier was given it.
        saliency: the contrast's, and how the photo lies in it.
        words: by phrase the text model's maps.
        places: the pixels of each place in sight.
    """

    item: Item
    target: int
    other: int
    correct: bool
    rows: tuple[Row, ...]
    off: float
    off_plain: float
    off_area: float
    on_listed: float
    empty: bool
    image: Float[Tensor, "3 H W"]
    saliency: Placed
    words: Mapping[str, Placed]
    places: Mapping[str, Bool[Tensor, "H W"]]


@dataclass(frozen=True, eq=False)
class Examiner:
    """Examines a classifier on a data set's photos.

    Args:
        classifier: with its preprocessing.
        subject: photos and attributes.
        targets: the classifier's class for each label, -1 where it has none.
        words: a text model's maps (``finercam.studies.faithfulness.wording.TextMaps``); places of the body if left
            out.
        against: hold all photos against this label; if left out each against the most similar class, that of the
            nearest logit among those with attributes. Photos of that very class are passed over.
        method, gamma: how maps are made.
        count: how many attributes are listed.

    Raises:
        FinercamError: no photo has a class to be held against.
    """

    classifier: Classifier
    subject: Subject
    targets: Sequence[int]
    words: Words | None = None
    against: int | None = None
    method: str = "gradcam"
    gamma: float = 0.6
    count: int = 3

    def __post_init__(self) -> None:
        known = sorted({item.label for item in self.subject.dataset.items() if self.targets[item.label] >= 0})
        if not any(self.rivals(label) for label in known):
            names = ", ".join(self.subject.attributes.class_names[label] for label in known[:3])
            raise FinercamError(
                f"the photos are of {names or 'no class that the classifier knows'}, and there is no other class to "
                "hold them against: the classifier must know two classes of the data set that differ"
            )

    def rivals(self, label: int) -> list[int]:
        """Return the labels that photos of a label may be held against."""
        allowed = self.subject.attributes.alike[label] if self.against is None else (self.against,)
        return [other for other in allowed if self.targets[other] not in (-1, self.targets[label])]

    def items(self) -> Iterator[Item]:
        """Yield the items that have a class to be held against."""
        for item in self.subject.dataset.items():
            if self.targets[item.label] >= 0 and self.rivals(item.label):
                yield item

    def examine(self, batch_size: int = 8) -> Iterator[Examined]:
        """Yield every photo that has a class to be held against, in the order of the data set."""
        placer = Placer(lambda photo: preprocess(self.classifier, photo))
        batch: list[_Opened] = []
        for item in self.items():
            example = self.subject.dataset.open(item)
            placement = placer(example.photo.size)
            one = _Opened(item, example, preprocess(self.classifier, example.photo), placement)
            if batch and (len(batch) == batch_size or one.image.shape != batch[0].image.shape):
                yield from self._batch(batch)
                batch = []
            batch.append(one)
        if batch:
            yield from self._batch(batch)

    def _batch(self, batch: Sequence[_Opened]) -> Iterator[Examined]:
        classifier = self.classifier
        images = torch.stack([one.image for one in batch])
        own = [self.targets[one.item.label] for one in batch]
        with undisturbed(classifier.module):
            logits, _ = forward(classifier, classifier.take(images), precision="float32")
        others = [self._nearest(one.item.label, row) for one, row in zip(batch, logits.tolist(), strict=True)]
        how = find_method(self.method)
        contrast = Contrast(against=[[self.targets[other]] for other in others], gamma=self.gamma)
        evidence, questions = gather(classifier, images, [PLAIN, contrast], own, method=how)
        plain, finer = (answer(evidence, question, how) for question in questions)
        cells = (finer.maps.shape[1], finer.maps.shape[2])
        named = logits.argmax(1).tolist()
        for i, one in enumerate(batch):
            maps = [each.saliency[i].detach().float().cpu() for each in (finer, plain)]
            yield self._photo(one, others[i], named[i] == own[i], maps[0], maps[1], cells)

    def _nearest(self, label: int, logits: Sequence[float]) -> int:
        own = logits[self.targets[label]]
        return min(self.rivals(label), key=lambda other: abs(logits[self.targets[other]] - own))

    def _photo(
        self, one: _Opened, other: int, correct: bool, saliency: Tensor, plain: Tensor, cells: tuple[int, int]
    ) -> Examined:
        attributes, pair = self.subject.attributes, Pair(one.item.key, one.item.label, other)
        outline = one.outline()
        places = self.subject.places(one.item, one.example, one.placement, other)
        words: Mapping[str, Placed] = {}
        even = evenly(torch.ones_like(saliency, dtype=torch.bool) if outline is None else outline, cells)
        if self.words is None:
            rows = rows_of_places(pair, attributes, places, saliency, plain, even, self.count)
        else:
            asked = asked_in_words(attributes, pair, self.count)
            words = self.words(one.example.photo, [attribute.phrase for attribute, _, _ in asked if attribute.phrase])
            own = ((saliency, one.placement), (plain, one.placement))
            rows = rows_of_words(pair, attributes, words, *own, self.count)
            over = {phrase: carried(*placed, one.placement).float().relu() for phrase, placed in words.items()}
            rows = [
                replace(
                    row,
                    found=found_by_words(
                        over[row.words], [places[place] for place in row.places if place in places], even
                    ),
                )
                for row in rows
            ]
        listed = {place for row in rows if row.status == LISTED for place in row.places}
        off, off_plain, off_area = math.nan, math.nan, math.nan
        if outline is not None and bool(outline.any()):
            cell = max(size / number for size, number in zip(saliency.shape, cells, strict=True))
            outside = ~widened(outline[None], CELLS_BEYOND * cell)[0]
            off_area = float(outside.float().mean())
            if bool(outside.any()):
                off, off_plain = share(saliency, [outside]), share(plain, [outside])
        return Examined(
            one.item, pair.target, other, correct, tuple(rows), off, off_plain, off_area,
            share(saliency, [mask for place, mask in places.items() if place in listed]),
            float(saliency.max()) <= 0, one.image, (saliency, one.placement), words, places,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Opened:
    item: Item
    example: Example
    image: Float[Tensor, "3 H W"]
    placement: Placement

    def outline(self) -> Bool[Tensor, "H W"] | None:
        """Return the object's pixels: those of its mask, else of its box."""
        if self.example.mask is not None:
            return self.placement.mask(self.example.mask)
        return None if self.example.box is None else self.placement.box(self.example.box)
