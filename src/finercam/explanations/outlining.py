"""From maps to regions: the pixels of a photo that have the evidence, in connected parts; also from maps on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from finercam.data.placement import Axis, Placement
from finercam.data.regions import Region, levelled, regions_of
from finercam.errors import FinercamError, check_between, nearest
from finercam.explanations.records import read_records
from finercam.registry import read_parameters, split_spec

#: Share of a map's evidence that a region has at least, where nothing is said: specks are none.
LEAST = 0.01


def threshold(*, share: float = 0.5) -> None:
    """Pixels with at least this share of the peak."""


def top(*, share: float = 0.1) -> None:
    """This share of the seen pixels, those with the most evidence."""


def energy(*, share: float = 0.5) -> None:
    """As few pixels as have this share of the evidence together."""


#: How pixels are chosen; what a spec may set is the function's parameter.
WAYS = {"threshold": threshold, "top": top, "energy": energy}


def read_way(by: str) -> tuple[str, float]:
    """Return the way and the share of ``energy@0.5``.

    Raises:
        FinercamError: there is no such way, or the share is not above 0 and up to 1.
    """
    name, _ = split_spec(by)
    if name not in WAYS:
        raise FinercamError(f"regions are made by {name!r}; {nearest(name, WAYS)}")
    share = read_parameters(WAYS[name], by)["share"]
    if not 0 < share <= 1:
        raise FinercamError(f"the share of {by!r} is {share:g}; it must be above 0, up to 1")
    return name, share


def find_regions(heat: Float[Tensor, "H W"], by: str, least: float | int, classes: Sequence[str]) -> list[Region]:
    """Return the regions of a map; see ``Explanation.regions``.

    Args:
        heat: on the photo, not negative; NaN where the model did not see it.
        by, least: as there.
        classes: the target's name, and those of the references.
    """
    way, share = read_way(by)
    check_between("least", least, 0, 1)
    return regions_of(heat, levelled(heat, way, share), least=least, classes=classes)


@dataclass(frozen=True, eq=False)
class Outlined:
    """An explanation's regions.

    Attributes:
        record: of the explanation, as in ``explanations.jsonl``; where that failed, or its maps cannot be used, with
            an ``error``.
        size: width and height of the photo.
        regions: in pixels of the photo.
    """

    record: dict[str, Any]
    size: tuple[int, int] = (0, 0)
    regions: tuple[Region, ...] = ()

    @property
    def error(self) -> str | None:
        """Why there are none, or ``None``."""
        return self.record.get("error")


def outline_folder(folder: Path, by: str, least: float | int = LEAST) -> Iterator[Outlined]:
    """Yield the regions of each explanation in a folder of results, in the order of its records.

    Args:
        folder: what ``explain_files`` wrote to.
        by, least: as for ``Explanation.regions``.

    Raises:
        FinercamError: it has no ``explanations.jsonl``, or ``by`` or ``least`` cannot be.
    """
    read_way(by)
    check_between("least", least, 0, 1)
    for record in read_records(folder / "explanations.jsonl"):
        try:
            yield record_regions(folder, record, by, least)
        except FinercamError as error:
            yield Outlined({**record, "error": str(error)})


def record_regions(folder: Path, record: dict[str, Any], by: str, least: float | int = LEAST) -> Outlined:
    """Return the regions of the explanation that a record is of; those of a photo that failed have its error.

    Raises:
        FinercamError: its maps cannot be read, or do not say how the photo lies in them.
    """
    if "error" in record:
        return Outlined(record)
    try:
        maps = folder / record["files"]["maps"]
        classes = (record["target"]["name"], *(one["name"] for one in record["references"]))
    except (KeyError, TypeError):
        raise FinercamError(f"the record of {record['image']!r} has no maps, or no classes") from None
    heat, placement = read_placed(maps)
    size = (placement.x.photo, placement.y.photo)
    return Outlined(record, size, tuple(find_regions(placement.to_photo(heat), by, least, classes)))


def read_placed(path: Path) -> tuple[Float[Tensor, "H W"], Placement]:
    """Return a file's saliency, and how the photo lies in it.

    Raises:
        FinercamError: the file cannot be read, or does not say so.
    """
    try:
        with safe_open(path, "pt") as file:
            saliency, metadata = file.get_tensor("saliency"), file.metadata() or {}
        axes = json.loads(metadata["placement"])
        return saliency, Placement(Axis(**axes["x"]), Axis(**axes["y"]))
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}") from None
    except (OSError, SafetensorError) as error:
        raise FinercamError(f"{str(path)!r} cannot be read as safetensors: {error}") from error
    except (KeyError, TypeError, ValueError):
        raise FinercamError(
            f"{str(path)!r} does not say how the photo lies in its maps: an earlier finercam wrote it, or the model's "
            "preprocessing does more than resize, crop and pad; explain the photo again"
        ) from None
