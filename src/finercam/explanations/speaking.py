"""What a region of a photo speaks for: its share of the logits, exact where the network says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.contrast.labels import find_class
from finercam.data.placement import Placement
from finercam.data.regions import Region, RegionLike
from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence, NotGathered
from finercam.methods.gradients import one_hot_rows
from finercam.methods.method import find_method
from finercam.models.undisturbed import exact

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation
    from finercam.models.facts import Facts

EXACT = (
    "exact: the network ends in pooling and one linear layer, so that each place has its own share of a logit; "
    "what is left over is the layer's bias"
)
ATTRIBUTED = (
    "an attribution: gradient times activation at the target layer, which is a share of the logit to the first order "
    "only; what is left over is everything else that goes into the logit"
)
#: How many classes a printed table has each way.
_SAID = 5


@dataclass(frozen=True, eq=False)
class Shares:
    """Each place's share of each class's logit, for one photo.

    Attributes:
        classes: indices.
        maps: the share of each cell; summed over the cells and added to ``rest`` they are the logits.
        rest: what is in no cell.
        exact: whether the shares are the network's own sum, or an attribution to the first order.
    """

    classes: tuple[int, ...]
    maps: Float[Tensor, "n h w"]
    rest: Float[Tensor, " n"]
    exact: bool

    @property
    def sentence(self) -> str:
        """What these numbers are."""
        return EXACT if self.exact else ATTRIBUTED


def shares_from(evidence: Evidence, classes: Sequence[int]) -> Shares:
    """Return the cells' shares of classes' logits, from the evidence of one photo.

    They are HiRes-CAM's maps, gradient times activation (arXiv 2011.08891, Eq. 5). Where the network ends in global
    average pooling and one linear layer, looked at on the map that is pooled, they add up to the logit less its bias.

    Raises:
        NotGathered: the evidence has no gradients, or not those of a class.
    """
    reader = evidence.by(find_method("hirescam"))
    with exact(evidence.logits.device):
        indices = torch.tensor([list(classes)], device=evidence.logits.device)
        maps = reader.maps(one_hot_rows(indices, evidence.logits.shape[1], evidence.logits))[0]
        rest = evidence.logits[0, indices[0]] - maps.sum((1, 2))
    return Shares(tuple(classes), maps, rest, evidence.complete)


@dataclass(frozen=True, eq=False)
class Spoken:
    """Which classes a region of a photo speaks for, and against.

    Attributes:
        target, references: class indices, as they were asked about.
        classes: indices of all classes that the evidence has.
        shares: the region's part of each class's logit.
        logits: of the classes.
        rest: of each logit what lies nowhere on the photo.
        exact: whether this is the network's own sum, or an attribution to the first order.
        area: the share of the model's input that the region covers, 0 to 1.
        facts: the classes' names.
    """

    target: int
    references: tuple[int, ...]
    classes: tuple[int, ...]
    shares: Float[Tensor, " n"]
    logits: Float[Tensor, " n"]
    rest: Float[Tensor, " n"]
    exact: bool
    area: float
    facts: Facts

    def difference(self, over: int | str, target: int | str | None = None) -> float:
        """Return the region's share of how far one class's logit is above another's.

        Args:
            over: the other class, by name or index.
            target: the class; the target if left out.

        Raises:
            FinercamError: a class is not known, or the evidence does not have it.
        """
        return float(self.shares[self._at(self.target if target is None else target)] - self.shares[self._at(over)])

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each class, the one that the region speaks for most before the others.

        ``index``, ``class``; ``share``: its part of the logit; ``target_over``: of the target's logit less this one;
        ``whole``: that difference itself; ``rest``: of it what lies nowhere on the photo.
        """
        own = self._at(self.target)
        over, whole, rest = (of[own] - of for of in (self.shares, self.logits, self.rest))
        order = self.shares.argsort(descending=True, stable=True).tolist()
        return [
            {
                "index": self.classes[at],
                "class": self.facts.class_name(self.classes[at]),
                "share": float(self.shares[at]),
                "target_over": float(over[at]),
                "whole": float(whole[at]),
                "rest": float(rest[at]),
            }
            for at in order
        ]

    def __str__(self) -> str:
        target, rows = self.facts.class_name(self.target), self.table()
        others = [row for row in rows if row["index"] in self.references]
        lines = [
            f"this region ({100 * self.area:.3g} % of what the model saw): {row['target_over']:+.2f} for {target} over "
            f"{row['class']}, whose logits differ by {row['whole']:+.2f}"
            for row in others
        ]
        rows = [row for row in rows if row["index"] != self.target]
        most, least = rows[:_SAID], rows[_SAID:][-_SAID:]
        for heading, part in (("it speaks most for", most), ("and least for", least[::-1])):
            if part:
                lines.append(f"{heading} " + ", ".join(f"{row['class']} ({row['share']:+.2f})" for row in part))
        lines.append(EXACT if self.exact else ATTRIBUTED)
        return "\n".join(lines)

    def _at(self, name: int | str) -> int:
        index = find_class(name, self.facts.classes, self.facts.labels)
        if index not in self.classes:
            raise FinercamError(
                f"the evidence has nothing of {self.facts.class_name(index)!r}; name it in collect= when explaining"
            )
        return self.classes.index(index)


def speak(explanation: Explanation, region: RegionLike) -> Spoken:
    """Return what a region speaks for; see ``Explanation.speaks``."""
    evidence = explanation.evidence
    if evidence is None:
        raise NotGathered("no evidence was kept; explain with keep=True")
    placement = None if explanation.original is None else explanation.original.placement
    inside, found = covered(region, placement, evidence.image_size), evidence.classes()
    shares = shares_from(evidence, range(len(explanation.logits)) if found is None else found)
    cells = cover(inside, (shares.maps.shape[1], shares.maps.shape[2])).to(shares.maps)
    return Spoken(
        target=explanation.target,
        references=explanation.references,
        classes=shares.classes,
        shares=torch.einsum("nhw,hw->n", shares.maps, cells),
        logits=explanation.logits[list(shares.classes)],
        rest=shares.rest,
        exact=shares.exact,
        area=float(inside.double().mean()),
        facts=explanation.facts,
    )


def covered(region: RegionLike, placement: Placement | None, size: tuple[int, int]) -> Bool[Tensor, "H W"]:
    """Return the pixels of the model's input whose middles are in a region of the photo.

    Args:
        region: in pixels of the photo, or of the input where there is no placement.
        placement: how the photo lies in the input.
        size: of the input.

    Raises:
        FinercamError: it is none, or does not fit the photo.
    """
    placed = placement or Placement.in_place(size)
    if isinstance(region, Region):
        return placed.mask(region.mask)
    values = region.detach().cpu() if isinstance(region, Tensor) else torch.from_numpy(_array(region))
    if values.dtype == torch.bool:
        if values.ndim != 2:
            raise FinercamError(f"a mask has a height and a width; this one is of shape {tuple(values.shape)}")
        return placed.mask(values.numpy())
    corners = values.double()
    if not bool(corners.isfinite().all()):
        raise FinercamError("a region's coordinates are pixels of the photo; some of these are not finite numbers")
    if corners.shape == (4,):
        x0, y0, x1, y1 = corners.tolist()
        if not (x0 < x1 and y0 < y1):
            raise FinercamError(f"a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1; {corners.tolist()} was given")
        return placed.box((x0, y0, x1, y1))
    if corners.ndim == 2 and corners.shape[1] == 2 and len(corners) >= 3:
        return placed.polygon(corners)
    raise FinercamError(
        "a region is a box x0, y0, x1, y1, a polygon of three or more points x, y, or a mask (bool) of the photo's "
        f"height and width; an array of {values.dtype} of shape {tuple(values.shape)} was given"
    )


def cover(inside: Bool[Tensor, "H W"], cells: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Return the share of each cell's area that pixels take; cells tile the input."""
    down, across = (_overlap(count, size) for count, size in zip(cells, inside.shape, strict=True))
    return down @ inside.double() @ across.T


def _overlap(cells: int, pixels: int) -> Float[Tensor, "h H"]:
    """Return how much of each cell each pixel takes, along one direction."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * pixels / cells
    low, high = torch.arange(pixels, dtype=torch.float64), torch.arange(1, pixels + 1, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], high) - torch.maximum(edges[:-1, None], low)
    return shared.clamp(min=0) * cells / pixels


def _array(region: Any) -> NDArray[Any]:
    try:
        found = np.asarray(region)
        if found.dtype.kind in "biuf":
            return np.ascontiguousarray(found)
    except (TypeError, ValueError):
        found = np.asarray(region, dtype=object)
    raise FinercamError(
        f"a region is a box, a polygon or a mask, in numbers; {type(region).__name__} of {found.dtype} was given"
    )
