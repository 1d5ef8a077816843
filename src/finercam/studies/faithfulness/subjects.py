"""Data sets whose classes have attributes, and where on each photo the places are that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from finercam.data.attributes import SAME, Attributes
from finercam.data.dataset import Dataset, Example
from finercam.data.format import FORMATS
from finercam.data.placement import Placement
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.studies.places import Groups, around_points, groups_among, outlined


@dataclass(frozen=True, eq=False)
class Sight:
    """The pixels of each place in sight on one photo, as arrays.

    Attributes:
        whatever: compared with any class, but
        differing: by label, compared with those of which it is known what tells the photo's class from them.
    """

    whatever: Mapping[str, Bool[NDArray[Any], "H W"]]
    differing: Mapping[int, Mapping[str, Bool[NDArray[Any], "H W"]]] = field(default_factory=dict)

    def against(self, other: int) -> dict[str, Bool[Tensor, "H W"]]:
        """Return the pixels of each place, compared with the class of a label."""
        return {place: torch.from_numpy(mask) for place, mask in self.differing.get(other, self.whatever).items()}


@dataclass(frozen=True, eq=False)
class Places:
    """Finds the places of attributes on photos.

    They are the masks of parts where the data set has those, else what is near its part points.

    Attributes:
        attributes: of the data set's classes.
        part_names: the data set's.
    """

    attributes: Attributes
    part_names: tuple[str, ...]

    def on(self, label: int, example: Example, placement: Placement) -> Sight:
        """Return the places in sight.

        Args:
            label: of the photo.
            example: the opened photo.
            placement: how it lies in the model's input.
        """
        if not example.part_masks:
            return Sight(_seen(around_points(example, placement, self.part_names, self._groups)))
        return Sight(
            _seen(self._outlined(label, example, placement, None)),
            {other: _seen(self._outlined(label, example, placement, other)) for other in example.differences},
        )

    def _outlined(
        self, label: int, example: Example, placement: Placement, other: int | None
    ) -> dict[str, Bool[Tensor, "H W"]]:
        """Return the pixels of each place from the masks of parts.

        A place in which the two classes differ has the pixels of either, where those are known: a bird without a
        crest is recognised by the place where the other's crest would be.
        """
        masks = outlined(example, self._groups)
        if other is not None:
            sizes = self.attributes.largest(label, other)
            differing = [place for place, size in sizes.items() if size > SAME]
            own = dict(masks)
            for place in differing:
                mask = example.differences[other].copy()
                for another in differing:
                    if another != place and another in own:
                        mask &= ~own[another]
                masks[place] = mask
        return {place: placement.mask(mask) for place, mask in masks.items()}

    @property
    def _groups(self) -> Groups:
        return groups_among(self.attributes)


@dataclass(frozen=True, eq=False)
class Subject:
    """What an examination is held on.

    Attributes:
        dataset: photos, labels, boxes.
        attributes: of its classes, in the order of its labels.
    """

    dataset: Dataset
    attributes: Attributes

    @property
    def places(self) -> Places:
        """What finds the attributes' places on its photos."""
        return Places(self.attributes, self.dataset.part_names)


def read_subject(spec: str, split: str = "test", images: int | None = None, seed: int = 0) -> Subject:
    """Return a data set with its attributes.

    Args:
        spec: of a data set whose format knows attributes: ``cub:DIR``.
        split, images, seed: as for ``read_dataset``.

    Raises:
        FinercamError: the attributes of its classes are not known, or it cannot be read.
    """
    dataset = read_dataset(spec, split, images, seed)
    if dataset.attributes is None:
        *ways, last = (way for known in FORMATS.values() if "attributes" in known.knows for way in known.specs)
        raise FinercamError(
            f"the attributes of the classes of {spec!r} are not known, and they are what a classifier is examined "
            f"with; give {', '.join(ways)} or {last}"
        )
    return Subject(dataset, dataset.attributes())


def _seen(places: Mapping[str, Bool[Tensor, "H W"]]) -> dict[str, Bool[NDArray[Any], "H W"]]:
    return {place: mask.numpy() for place, mask in places.items() if bool(mask.any())}
