"""The registry of measures: what ``--metrics`` may name, what each needs, and how it is computed from a map.

A measure is written ``name`` or ``name@parameter``: ``deletion``, ``relative-drop@0.05``, ``localization@mask``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.errors import FinercamError, nearest
from finercam.metrics import localization as where
from finercam.metrics.masked_runs import Cut
from finercam.metrics.masking import top_count
from finercam.metrics.parts import share_near_any, share_near_parts
from finercam.metrics.sanity import rank_correlation

#: Where the object of a photo is: its box, or where a data set has masks only, the mask.
OBJECT = "object"
REGIONS = (OBJECT, "box", "mask", "difference")


@dataclass(frozen=True)
class View:
    """One map of a batch, and what it can be held against.

    Attributes:
        saliency: the map.
        regions: by name, where things are; an image without the region has an empty one.
        confidence: gives the probabilities (target, other) after a cut.
        unmasked: theirs before.
        discs: gives the pixels near each part, for a radius as a fraction of the box; unseen parts have none.
        of_other: the plain map of the other class by the same method.
    """

    saliency: Float[Tensor, "b H W"]
    regions: Mapping[str, Bool[Tensor, "b H W"]]
    unmasked: Float[Tensor, "b 2"]
    confidence: Callable[[Cut], Float[Tensor, "b 2"]]
    discs: Callable[[float], Bool[Tensor, "b _P H W"]] | None = None
    of_other: Float[Tensor, "b H W"] | None = None


#: What a measure gives for each image: a number, a list of numbers, or None where it is undefined.
Values = dict[str, list[Any]]


@dataclass(frozen=True)
class Measure:
    """One measure with its parameter.

    Attributes:
        spec: as it was asked for; the name of its column.
        title: heading in tables.
        better: ``higher``, ``lower`` or ``""`` where neither is.
        compute: from a view to the values of its columns.
        curves: further columns, which hold lists of numbers.
        cuts: the masked copies it needs, given the number of pixels.
        region: the region it needs.
        needs: ``parts`` or ``other map``, if it needs one of them.
    """

    spec: str
    title: str
    better: str
    compute: Callable[[View], Values]
    curves: tuple[str, ...] = ()
    cuts: Callable[[int], Sequence[Cut]] = field(default=lambda pixels: ())
    region: str = ""
    needs: str = ""


#: Name -> maker, given the parameter's text ("" if there is none), the steps of curves and the spec.
MEASURES: dict[str, Callable[[str, int, str], Measure]] = {}


def _measure(name: str) -> Callable[[Callable[[str, int, str], Measure]], Callable[[str, int, str], Measure]]:
    def register(maker: Callable[[str, int, str], Measure]) -> Callable[[str, int, str], Measure]:
        MEASURES[name] = maker
        return maker

    return register


def find_measure(spec: str, steps: int = 50) -> Measure:
    """Return the measure for ``name`` or ``name@parameter``.

    Args:
        spec: what was asked for.
        steps: of deletion and insertion.

    Raises:
        FinercamError: there is none of that name, or the parameter is out of range.
    """
    if steps < 1:
        raise FinercamError(f"steps is {steps}; a curve needs at least 1")
    name, _, parameter = spec.strip().partition("@")
    if name not in MEASURES:
        raise FinercamError(f"there is no metric {name!r}; {nearest(name, MEASURES)}")
    return MEASURES[name](parameter, steps, spec.strip())


def default_measures(regions: Sequence[str]) -> tuple[str, ...]:
    """Return what is measured where nothing is said: the paper's, and the ranking that goes with localisation."""
    specs = ["deletion", "relative-drop@0.05", "relative-drop@0.1"]
    if "box" in regions or "mask" in regions:
        # Energy can be raised by sharpening alone, which this ranking does not reward.
        specs += ["localization", "average-precision"]
    if "difference" in regions:
        specs += ["localization@difference", "average-precision@difference"]
    return tuple(specs)


def _fraction(parameter: str, default: float | None, spec: str) -> float:
    try:
        value = default if not parameter and default is not None else float(parameter)
    except ValueError:
        raise FinercamError(
            f"{spec!r}: {parameter!r} is no fraction; write, for one, {spec.split('@')[0]}@0.05"
        ) from None
    if not 0 < value <= 1:
        raise FinercamError(f"{spec!r}: the fraction must lie above 0 and up to 1")
    return value


def _plain(spec: str, parameter: str) -> None:
    if parameter:
        raise FinercamError(f"{spec!r}: {spec.split('@')[0]} takes no parameter")


def _listed(values: Tensor) -> list[Any]:
    """Return numbers, with None where they are undefined."""
    return [None if value != value else value for value in values.double().tolist()]


def _curve(inserted: bool, title: str, better: str) -> Callable[[str, int, str], Measure]:
    def make(parameter: str, steps: int, spec: str) -> Measure:
        _plain(spec, parameter)
        columns = (f"{spec} curve", f"{spec} curve of other")

        def cuts(pixels: int) -> list[Cut]:
            return [Cut(inserted, top_count(step / steps, pixels)) for step in range(steps + 1)]

        def compute(view: View) -> Values:
            pixels = view.saliency[0].numel()
            own = cuts(pixels)
            curves = torch.stack([view.confidence(cut) for cut in own], 1)  # b n 2
            fractions = torch.tensor([cut.count / pixels for cut in own], dtype=torch.float64, device=curves.device)
            area = torch.trapezoid(curves[..., 0].double(), fractions, dim=1)
            return {
                spec: _listed(area),
                columns[0]: curves[..., 0].tolist(),
                columns[1]: curves[..., 1].tolist(),
            }

        return Measure(spec, title, better, compute, columns, cuts)

    return make


MEASURES["deletion"] = _curve(False, "Del.", "lower")
MEASURES["insertion"] = _curve(True, "Ins.", "higher")


def _drop(name: str, title: str, relative: bool) -> None:
    @_measure(name)
    def make(parameter: str, steps: int, spec: str) -> Measure:
        fraction = _fraction(parameter, 0.05, spec)

        def cuts(pixels: int) -> list[Cut]:
            return [Cut(False, top_count(fraction, pixels))]

        def compute(view: View) -> Values:
            # Eq. 10, on the two columns that matter.
            fall = view.unmasked - view.confidence(cuts(view.saliency[0].numel())[0])
            return {spec: _listed(fall[:, 0] - fall[:, 1] if relative else fall[:, 0])}

        return Measure(spec, f"{title}@{fraction:g}", "higher", compute, cuts=cuts)


_drop("confidence-drop", "Drop", relative=False)
_drop("relative-drop", "RD", relative=True)


def _in_region(name: str, title: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @_measure(name)
    def make(parameter: str, steps: int, spec: str) -> Measure:
        region = parameter or OBJECT
        if region not in REGIONS:
            raise FinercamError(f"{spec!r}: {nearest(region, REGIONS)}")

        def compute(view: View) -> Values:
            known = view.regions[region].flatten(1).any(1)
            values = function(view.saliency, view.regions[region])
            return {spec: _listed(torch.where(known, values, torch.nan))}

        suffix = "" if region == OBJECT else f" ({region})"
        return Measure(spec, title + suffix, "higher", compute, region=region)


_in_region("localization", "Loc.", where.energy_inside)
_in_region("average-precision", "AP", where.average_precision)
_in_region("pointing", "Pointing", where.pointing)


@_measure("iou")
def _iou(parameter: str, steps: int, spec: str) -> Measure:
    fraction = _fraction(parameter, None, spec) if parameter else None

    def compute(view: View) -> Values:
        return {spec: _listed(where.iou_of_top(view.saliency, view.regions[OBJECT], fraction))}

    title = "IoU" if fraction is None else f"IoU@{fraction:g}"
    return Measure(spec, title, "higher", compute, region=OBJECT)


@_measure("parts")
def _parts(parameter: str, steps: int, spec: str) -> Measure:
    radius = _fraction(parameter, 0.1, spec)

    def compute(view: View) -> Values:
        assert view.discs is not None
        discs = view.discs(radius)
        shares = share_near_parts(view.saliency, discs)
        return {
            spec: _listed(share_near_any(view.saliency, discs)),
            f"{spec} shares": [_listed(row) for row in shares],
        }

    return Measure(spec, f"Parts@{radius:g}", "higher", compute, (f"{spec} shares",), needs="parts")


@_measure("class-sensitivity")
def _class_sensitivity(parameter: str, steps: int, spec: str) -> Measure:
    _plain(spec, parameter)

    def compute(view: View) -> Values:
        assert view.of_other is not None
        return {spec: _listed(rank_correlation(view.saliency, view.of_other))}

    return Measure(spec, "Same for d", "lower", compute, needs="other map")
