"""Which parts of the object carry the difference between two classes?

Each photo of class c is asked about c against another class d: one given pair of classes, or for every class the one
whose logit is nearest. Kept is where the saliency lies: its share on each part, beside the share that the part's area
would give; where it lies on the photo; and what the network shows there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch

from finercam.contrast.contrast import Contrast
from finercam.data.dataset import Item
from finercam.errors import FinercamError
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Study
from finercam.studies.places import Groups, outline_on, places_on, points_on
from finercam.studies.traits.findings import Direction, directions
from finercam.studies.traits.measuring import FEATURES, PATCHES, SIDE, Measurer, Photo
from finercam.studies.traits.rows import SCHEMA


@dataclass(frozen=True, eq=False)
class Traits(Study[Classifier, Photo]):
    """Measures where the evidence for a class over another lies on a data set's photos.

    Args:
        classes: of the model, by name and index, that may be compared with each other.
        groups: the places of the object, as ``groups_of`` finds them.
        part_names: of the data set.
        pair: two of the classes: photos of each are compared with the other. Left out, photos of every class are
            compared with the class of the nearest logit among the others.
        predicted: a photo is of the class that the model takes it for; else of the one the data set says.
        method: spec of what makes the maps.
        gamma: comparison strength; 1 by default, where the evidence for c over d and that for d over c are each
            other's opposite.
    """

    name: ClassVar[str] = "traits"

    classes: Mapping[int, str]
    groups: Groups
    part_names: tuple[str, ...] = ()
    pair: tuple[int, int] | None = None
    predicted: bool = False
    method: str = "gradcam"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        Contrast(gamma=self.gamma)
        if len(set(self.pair or self.classes)) < 2:
            raise FinercamError("there is one class only, and none to compare it with; give two that differ")

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        return {
            "pair": None if self.pair is None else [self.classes[index] for index in self.pair],
            "class_names": {str(index): name for index, name in self.classes.items()},
            "places": {place: list(parts) for place, parts in self.groups.items()},
            "parts": list(self.part_names),
            "labels": "predicted" if self.predicted else "label",
            "method": find_method(self.method).spec,
            "gamma": self.gamma,
            "patches": [PATCHES, SIDE, FEATURES],
        }

    def schema(self) -> pa.Schema:
        """Return the columns of ``Carried``."""
        return SCHEMA

    def uses(self) -> Iterable[Any]:
        """Return the method's functions."""
        return find_method(self.method).functions

    def rivals(self, target: int) -> tuple[int, ...]:
        """Return the classes that photos of a class may be compared with; none if they are not asked about."""
        known = self.pair or tuple(self.classes)
        return tuple(other for other in known if other != target) if target in known else ()

    def takes(self, item: Item, target: int) -> bool:
        """Return whether it is, or may turn out to be, of a class that is asked about."""
        return self.predicted or bool(self.rivals(target))

    def prepare(self, opened: Opened) -> Photo:
        """Return the photo with the object's outline and places in the model's input."""
        example, placement = opened.example, opened.placement
        outline = outline_on(example, placement)
        places = places_on(example, placement, self.part_names, self.groups)
        size = torch.tensor([placement.x.input, placement.y.input], dtype=torch.float64)
        corners, points = torch.empty(0), torch.empty(0)
        if example.box is not None:
            ends = placement.points(torch.tensor(example.box, dtype=torch.float64).reshape(2, 2)) / size
            corners = torch.cat([ends.amin(0), ends.amax(0)])
        if example.parts:
            points = points_on(example, placement) / size
        return Photo(
            opened.entry,
            opened.image,
            placement,
            None if outline is None else outline.numpy(),
            {place: mask.numpy() for place, mask in places.items()},
            tuple(corners.tolist()),
            tuple(points.flatten().tolist()),
        )

    def start(self, bench: Bench[Classifier]) -> Measurer:
        """Return what measures batches."""
        return Measurer(self, bench)

    def summary(self, rows: Rows) -> list[Direction]:
        """Return what carries the evidence of each class over each other one it was compared with."""
        return directions(rows)
