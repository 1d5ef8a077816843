"""Places of an object on photos: pixels of masks of parts, or what is near part points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.data.attributes import Attributes
from finercam.data.dataset import Dataset, Example
from finercam.data.placement import Placement
from finercam.metrics.localization import energy_inside, widened
from finercam.metrics.points import near_parts, part_radius

#: How far around an object, in cells of the map, saliency is not counted as off it. A cell whose centre is half a
#: cell outside still sees the object's edge, and resizing smears it by another cell.
CELLS_BEYOND = 1.5

#: By place the names of a data set's parts that make it up.
Groups = Mapping[str, Sequence[str]]


def groups_of(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return the places of a data set's objects: those its attributes are seen at, then each part in none of them."""
    found = {} if dataset.attributes is None else groups_among(dataset.attributes())
    taken = {part for parts in found.values() for part in parts}
    return found | {name: (name,) for name in dataset.part_names if name not in taken}


def groups_among(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    """Return the parts of each place that attributes are seen at."""
    return {place: attributes.parts.get(place, (place,)) for place in attributes.places}


def places_on(
    example: Example, placement: Placement, part_names: Sequence[str], groups: Groups
) -> dict[str, Bool[Tensor, "H W"]]:
    """Return the pixels of each place in sight: those of the masks of its parts, else discs around its part points.

    Args:
        example: the opened photo.
        placement: how it lies in the model's input.
        part_names: of the data set.
        groups: the places.
    """
    if example.part_masks:
        masks = outlined(example, groups)
        found = {place: placement.mask(mask) for place, mask in masks.items()}
    else:
        found = around_points(example, placement, part_names, groups)
    return {place: mask for place, mask in found.items() if bool(mask.any())}


def outlined(example: Example, groups: Groups) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Return the pixels of the photo of each place of which a part's mask is there."""
    found = {}
    for place, parts in groups.items():
        seen = [example.part_masks[part] for part in parts if part in example.part_masks]
        if seen:
            found[place] = np.logical_or.reduce(seen)
    return found


def around_points(
    example: Example, placement: Placement, part_names: Sequence[str], groups: Groups
) -> dict[str, Bool[Tensor, "H W"]]:
    """Return discs around part points that reach a tenth of the box's larger side (as in PCK@0.1)."""
    if example.box is None or not example.parts:
        return {}
    points = points_on(example, placement)
    corners = placement.points(torch.tensor(example.box, dtype=torch.float64).reshape(2, 2))
    box = torch.cat([corners.amin(0), corners.amax(0)])
    size = (placement.y.input, placement.x.input)
    discs = near_parts(points[None], ~points.isnan().any(1)[None], part_radius(box[None]), size)[0]
    return {
        place: discs[[index for index, name in enumerate(part_names) if name in parts]].any(0)
        for place, parts in groups.items()
    }


def points_on(example: Example, placement: Placement) -> Tensor:
    """Return x, y of each part in the model's input (float64); NaN where it is out of sight."""
    hidden = (float("nan"),) * 2
    return placement.points(torch.tensor([point or hidden for point in example.parts], dtype=torch.float64))


def evenly(outline: Bool[Tensor, "H W"], cells: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return the map that lies evenly over an object, at a map's resolution and resized as one.

    Its cells hold how much of the object they show. Such a map is fainter near the object's edge, on tails and legs,
    than in its middle; so chance is weighed by it, not by pixels alone.
    """
    inside = torch.nn.functional.adaptive_avg_pool2d(outline[None, None].float(), cells)
    smooth = torch.nn.functional.interpolate(inside, outline.shape, mode="bilinear", align_corners=False)[0, 0]
    # A place annotated just outside of the outline still has some weight.
    return smooth.clamp(min=1e-3)


def share(saliency: Float[Tensor, "H W"], masks: Sequence[Bool[Tensor, "H W"]]) -> float:
    """Return the share of saliency, 0 to 1, on the union of masks; NaN for an empty map or no pixel."""
    if not masks or float(saliency.max()) <= 0:
        return math.nan
    return float(energy_inside(saliency.double()[None], torch.stack(list(masks)).any(0)[None]))


def outline_on(example: Example, placement: Placement) -> Bool[Tensor, "H W"] | None:
    """Return the object's pixels in the input: those of its mask, else of its box; ``None`` where neither is known."""
    if example.mask is not None:
        return placement.mask(example.mask)
    return None if example.box is None else placement.box(example.box)


def off_object(outline: Bool[Tensor, "H W"], cells: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """Return the pixels off an object, farther from it than ``CELLS_BEYOND`` cells of a map of ``cells``."""
    cell = max(size / number for size, number in zip(outline.shape, cells, strict=True))
    return ~widened(outline[None], CELLS_BEYOND * cell)[0]
