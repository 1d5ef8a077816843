"""What an evaluation prepares of an item: its input, regions of the photo in it, and maps that were made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from finercam.data.dataset import Box
from finercam.data.placement import Placement
from finercam.runs.study import Opened, Prepared


@dataclass(frozen=True, eq=False)
class Placed(Prepared):
    """A photo ready to be measured.

    Attributes:
        regions: in the input's pixels, those that are known of ``box`` and ``mask``.
        differences: by the other class's label in the data set.
        absent: of these labels, those whose trait the photo lacks.
        repainted: the input as one of another class, by that class's label; of those in ``differences``.
        points: x, y of each part in the input; NaN where it is not seen.
        extent: the larger side of the object's box in the input, in pixels; NaN if there is none.
        given: maps that were made elsewhere, by the method's spec.
    """

    regions: Mapping[str, Bool[NDArray[Any], "H W"]] = field(default_factory=dict)
    differences: Mapping[int, Bool[NDArray[Any], "H W"]] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    repainted: Mapping[int, Float[NDArray[Any], "3 H W"]] = field(default_factory=dict)
    points: Float[NDArray[Any], "_P 2"] | None = None
    extent: float = float("nan")
    given: Mapping[str, Float[NDArray[Any], "H W"]] = field(default_factory=dict)


def place(opened: Opened, given: Mapping[str, Float[NDArray[Any], "H W"]], *, repaint: bool = False) -> Placed:
    """Return an opened item with its box, mask, differences and parts placed in the model's input.

    Args:
        opened: the item.
        given: maps that were made elsewhere.
        repaint: paint it as the other class of each difference, too, where the data set can.
    """
    example, placement = opened.example, opened.placement
    regions = {}
    if example.box is not None:
        regions["box"] = placement.box(example.box).numpy()
    if example.mask is not None:
        regions["mask"] = placement.mask(example.mask).numpy()
    points = None
    if example.parts:
        missing = (float("nan"),) * 2
        stated = torch.tensor([point or missing for point in example.parts], dtype=torch.float64)
        points = placement.points(stated).numpy()
    repainted = {label: opened.repainted(label) for label in example.differences} if repaint else {}
    return Placed(
        opened.entry,
        opened.image,
        regions,
        {label: placement.mask(mask).numpy() for label, mask in example.differences.items()},
        example.absent,
        {label: image for label, image in repainted.items() if image is not None},
        points,
        float("nan") if example.box is None else _extent(example.box, placement),
        given,
    )


def _extent(box: Box, placement: Placement) -> float:
    x0, y0, x1, y1 = box
    return max(abs((x1 - x0) * placement.x.scale), abs((y1 - y0) * placement.y.scale))
