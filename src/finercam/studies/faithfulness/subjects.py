"""Data sets whose classes have attributes, and where on each photo the places are that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from finercam.data.attributes import SAME, Attributes
from finercam.data.dataset import Dataset, Example, Item
from finercam.data.format import FORMATS
from finercam.data.placement import Placement
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.metrics.points import near_parts, part_radius


@dataclass(frozen=True, eq=False)
class Subject:
    """What an examination is held on.

    Attributes:
        dataset: photos, labels, boxes.
        attributes: of its classes, in the order of its labels.
    """

    dataset: Dataset
    attributes: Attributes

    def places(self, item: Item, example: Example, placement: Placement, other: int) -> dict[str, Bool[Tensor, "H W"]]:
        """Return the pixels of each place that is in sight.

        Those of the masks of its parts where the data set has them, else those near its part points.

        Args:
            item: the photo's.
            example: the opened photo.
            placement: how the photo lies in the model's input.
            other: label of the class that it is compared with.
        """
        if example.part_masks:
            found = self._outlined(item, example, placement, other)
        else:
            found = self._around_points(example, placement)
        return {place: mask for place, mask in found.items() if bool(mask.any())}

    def _outlined(self, item: Item, example: Example, placement: Placement, other: int) -> dict[str, Tensor]:
        """Return the pixels of each place from the masks of parts.

        A place in which the two classes differ has the pixels of either, where those are known: a bird without a
        crest is recognised by the place where the other's crest would be.
        """
        masks = {}
        for place, parts in self._parts().items():
            seen = [example.part_masks[part] for part in parts if part in example.part_masks]
            if seen:
                masks[place] = np.logical_or.reduce(seen)
        if other in example.differences:
            sizes = self.attributes.largest(item.label, other)
            differing = [place for place, size in sizes.items() if size > SAME]
            own = dict(masks)
            for place in differing:
                mask = example.differences[other].copy()
                for another in differing:
                    if another != place and another in own:
                        mask &= ~own[another]
                masks[place] = mask
        return {place: placement.mask(mask) for place, mask in masks.items()}

    def _around_points(self, example: Example, placement: Placement) -> dict[str, Tensor]:
        """Return discs around part points that reach a tenth of the box's larger side (as in PCK@0.1)."""
        if example.box is None or not example.parts:
            return {}
        hidden = (float("nan"),) * 2
        points = placement.points(torch.tensor([point or hidden for point in example.parts], dtype=torch.float64))
        corners = placement.points(torch.tensor(example.box, dtype=torch.float64).reshape(2, 2))
        box = torch.cat([corners.amin(0), corners.amax(0)])
        size = (placement.y.input, placement.x.input)
        discs = near_parts(points[None], ~points.isnan().any(1)[None], part_radius(box[None]), size)[0]
        names = self.dataset.part_names
        return {
            place: discs[[index for index, name in enumerate(names) if name in parts]].any(0)
            for place, parts in self._parts().items()
        }

    def _parts(self) -> Mapping[str, Sequence[str]]:
        """Return the parts of each place."""
        return {place: self.attributes.parts.get(place, (place,)) for place in self.attributes.places}


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
