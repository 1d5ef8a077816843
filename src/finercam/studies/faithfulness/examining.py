"""Photos looked at by a classifier, and by a text model, and what is found where the saliency lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.placement import Placement
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.runs.study import Bench, Prepared
from finercam.studies.faithfulness.aligning import carried
from finercam.studies.faithfulness.examined import Examined, to_rows
from finercam.studies.faithfulness.rows import (
    LISTED,
    Pair,
    Placed,
    asked_in_words,
    found_by_words,
    rows_of_places,
    rows_of_words,
)
from finercam.studies.faithfulness.subjects import Sight
from finercam.studies.places import evenly, off_object, share

if TYPE_CHECKING:
    from finercam.studies.faithfulness.study import Faithfulness


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
        saliency: the contrast's, and how the photo lies in it.
        words: by phrase the text model's maps.
        places: the pixels of each place in sight.
    """

    examined: Examined
    saliency: Placed
    words: Mapping[str, Placed]
    places: Mapping[str, Bool[Tensor, "H W"]]


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
            (evidence,) = gather_each(look, [how], questions)
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
            outside = off_object(outline, cells)
            off_area = float(outside.float().mean())
            if bool(outside.any()):
                off, off_plain = share(saliency, [outside]), share(plain, [outside])
        examined = Examined(
            pair.key,
            pair.target,
            pair.other,
            correct,
            tuple(rows),
            off,
            off_plain,
            off_area,
            share(saliency, [mask for place, mask in places.items() if place in listed]),
            float(saliency.max()) <= 0,
        )
        return Seen(examined, (saliency, one.placement), words, places)
