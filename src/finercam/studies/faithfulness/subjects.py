"""Data sets whose classes have attributes, and where on each photo the places of the body are that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from finercam.data.dataset import Dataset, Example, Item
from finercam.data.placement import Placement
from finercam.errors import FinercamError
from finercam.metrics.points import near_parts, part_radius
from finercam.studies.faithfulness.attributes import CUB_PARTS, Attributes, aviary_attributes, covered, cub_attributes

#: Given an item, opened, how its photo is placed, and the label of the class it is held against: each place's pixels.
Places: TypeAlias = Callable[[Item, Example, Placement, int], Mapping[str, Bool[Tensor, "H W"]]]


@dataclass(frozen=True, eq=False)
class Subject:
    """What an examination is held on.

    Attributes:
        dataset: photos, labels, boxes.
        attributes: of its classes, in the order of its labels.
        places: finds each place of the body that is in sight.
    """

    dataset: Dataset
    attributes: Attributes
    places: Places


def read_subject(spec: str, split: str = "test", images: int | None = None, seed: int = 0) -> Subject:
    """Return a data set with its attributes.

    Args:
        spec: ``cub:DIR``, ``aviary`` or ``aviary:biased``.
        split, images, seed: as for ``read_dataset``.

    Raises:
        FinercamError: the data set has no attributes, or cannot be read.
    """
    from finercam.data.reading import read_dataset

    kind, _, place = spec.partition(":")
    dataset = read_dataset(spec, split, images, seed)
    if kind == "cub":
        return Subject(dataset, cub_attributes(place), PartPoints(dataset.part_names))
    if kind == "aviary":
        return Subject(dataset, aviary_attributes(), PartMasks(biased=place == "biased"))
    raise FinercamError(
        f"{spec!r} says nothing of the attributes of its classes, which a classifier is examined with; give cub:DIR, "
        "aviary or aviary:biased"
    )


@dataclass(frozen=True)
class PartPoints:
    """Places around part points, each a disc that reaches a tenth of the box's larger side (as in PCK@0.1).

    Attributes:
        part_names: what the points of an item count through.
        parts: the points of each place; CUB's.
    """

    part_names: Sequence[str]
    parts: Mapping[str, Sequence[str]] = field(default_factory=lambda: CUB_PARTS)

    def __call__(
        self, item: Item, example: Example, placement: Placement, other: int
    ) -> dict[str, Bool[Tensor, "H W"]]:
        """Return the pixels of each place in sight, whatever the other class."""
        if example.box is None or not example.parts:
            return {}
        hidden = (float("nan"),) * 2
        points = placement.points(torch.tensor([point or hidden for point in example.parts], dtype=torch.float64))
        corners = placement.points(torch.tensor(example.box, dtype=torch.float64).reshape(2, 2))
        box = torch.cat([corners.amin(0), corners.amax(0)])
        size = (placement.y.input, placement.x.input)
        discs = near_parts(points[None], ~points.isnan().any(1)[None], part_radius(box[None]), size)[0]
        found = {place: discs[covered([place], self.parts, self.part_names)].any(0) for place in self.parts}
        return {place: disc for place, disc in found.items() if bool(disc.any())}


@dataclass(frozen=True)
class PartMasks:
    """Places of the aviary's birds, to the pixel.

    Attributes:
        biased: whether the pictures' background goes with the species.
    """

    biased: bool = False

    def __call__(
        self, item: Item, example: Example, placement: Placement, other: int
    ) -> dict[str, Bool[Tensor, "H W"]]:
        """Return the pixels of each place in sight.

        A place in which the two species differ has the pixels of either: a bird without a crest is told by where the
        other's would be.
        """
        from finercam.aviary import PART_OF, SPECIES
        from finercam.aviary.samples import sample
        from finercam.aviary.species import differing

        split, seed, index = item.key.rsplit("/", 2)
        bird = sample(split, int(index), int(seed), biased=self.biased)
        masks = dict(bird.masks)
        rival = SPECIES[other]
        if rival.name in bird.differences:
            places = {PART_OF[key] for key in differing(SPECIES[bird.label], rival)}
            for place in places:
                mask = bird.differences[rival.name].copy()
                for another in places - {place}:
                    if another in bird.masks:
                        mask &= ~bird.masks[another]
                masks[place] = mask
        placed = {place: placement.mask(mask) for place, mask in masks.items()}
        return {place: mask for place, mask in placed.items() if bool(mask.any())}
