"""Data sets whose classes have attributes, and where on each photo the places are that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
from finercam.metrics.points import near_parts, part_radius


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
            return Sight(_seen(self._around_points(example, placement)))
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
        masks = {}
        for place, parts in self._parts().items():
            seen = [example.part_masks[part] for part in parts if part in example.part_masks]
            if seen:
                masks[place] = np.logical_or.reduce(seen)
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

    def _around_points(self, example: Example, placement: Placement) -> dict[str, Bool[Tensor, "H W"]]:
        """Return discs around part points that reach a tenth of the box's larger side (as in PCK@0.1)."""
        if example.box is None or not example.parts:
            return {}
        hidden = (float("nan"),) * 2
        points = placement.points(torch.tensor([point or hidden for point in example.parts], dtype=torch.float64))
        corners = placement.points(torch.tensor(example.box, dtype=torch.float64).reshape(2, 2))
        box = torch.cat([corners.amin(0), corners.amax(0)])
        size = (placement.y.input, placement.x.input)
        discs = near_parts(points[None], ~points.isnan().any(1)[None], part_radius(box[None]), size)[0]
        return {
            place: discs[[index for index, name in enumerate(self.part_names) if name in parts]].any(0)
            for place, parts in self._parts().items()
        }

    def _parts(self) -> Mapping[str, Sequence[str]]:
        """Return the parts of each place."""
        return {place: self.attributes.parts.get(place, (place,)) for place in self.attributes.places}


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
