"""From an item of a data set to what a model and the measures take: opened, preprocessed, its regions placed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.data.dataset import Box, Example, Item
from finercam.data.placement import Placement, Placer
from finercam.errors import FinercamError
from finercam.runs.manifest import Entry


@dataclass(frozen=True)
class Prepared:
    """A photo ready to be measured, or what stands in the way.

    In arrays and not in tensors, because it comes from another process: tensors would go through shared memory, of
    which containers have little, and take an open file each.

    Attributes:
        entry: its line of the manifest.
        image: preprocessed; ``None`` where the photo failed.
        regions: in the input's pixels, those that are known of ``box`` and ``mask``.
        differences: by the other class's label in the data set.
        points: x, y of each part in the input; NaN where it is not seen.
        extent: the larger side of the object's box in the input, in pixels; NaN if there is none.
        error: why the photo cannot be measured.
    """

    entry: Entry
    image: Float[NDArray[Any], "3 H W"] | None
    regions: Mapping[str, Bool[NDArray[Any], "H W"]] = field(default_factory=dict)
    differences: Mapping[int, Bool[NDArray[Any], "H W"]] = field(default_factory=dict)
    points: Float[NDArray[Any], "_P 2"] | None = None
    extent: float = float("nan")
    error: str | None = None


class Preparer:
    """Prepares entries; can be sent to another process.

    Args:
        open_item: a data set's ``open``.
        preprocess: the model's.
        places: whether boxes, masks and parts are wanted.
    """

    def __init__(
        self, open_item: Callable[[Item], Example], preprocess: Callable[[Any], Tensor] | None, places: bool
    ) -> None:
        if preprocess is None:
            raise FinercamError("this classifier has no preprocessing for photos; give Classifier.of(..., preprocess=)")
        self._open = open_item
        self._preprocess = preprocess
        self._placer = Placer(preprocess) if places else None

    def __call__(self, entry: Entry) -> Prepared:
        """Return the entry's photo and regions; an error of the photo's is returned, not raised."""
        try:
            example = self._open(entry.item)
            tensor = self._preprocess(example.photo)
            # NumPy knows no bfloat16; the images are cast to the model's own type anyway.
            image = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
            if self._placer is None:
                return Prepared(entry, image)
            return _placed(entry, example, image, self._placer(example.photo.size))
        except FinercamError as error:
            return Prepared(entry, None, error=str(error))
        except Exception as error:
            # Any preprocessing may be used, and what it makes of an odd photo must not end a run of millions.
            return Prepared(entry, None, error=f"{type(error).__name__}: {error}")


def _placed(entry: Entry, example: Example, image: NDArray[Any], placement: Placement) -> Prepared:
    regions = {}
    if example.box is not None:
        regions["box"] = placement.box(example.box).numpy()
    if example.mask is not None:
        regions["mask"] = placement.mask(example.mask).numpy()
    points = None
    if example.parts:
        missing = (float("nan"),) * 2
        given = torch.tensor([point or missing for point in example.parts], dtype=torch.float64)
        points = placement.points(given).numpy()
    return Prepared(
        entry,
        image,
        regions,
        {label: placement.mask(mask).numpy() for label, mask in example.differences.items()},
        points,
        float("nan") if example.box is None else _extent(example.box, placement),
    )


def _extent(box: Box, placement: Placement) -> float:
    x0, y0, x1, y1 = box
    return max(abs((x1 - x0) * placement.x.scale), abs((y1 - y0) * placement.y.scale))
