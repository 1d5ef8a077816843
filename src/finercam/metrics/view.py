"""What a metric sees of a map, and how it says what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.errors import FinercamError
from finercam.metrics.points import PartPoints

#: Where the object of a photo is: its box, or where a data set has masks only, the mask.
OBJECT: Final = "object"
#: Regions of a photo by name; ``difference`` is what tells the target from the class it is compared with. It is
#: ``present`` where the trait is to be seen in the photo, and ``absent`` where the photo lacks what the other has.
Region: TypeAlias = Literal["object", "box", "mask", "difference", "present", "absent"]
#: Those that are known of two classes, and not of the taxa that they are in.
OF_CLASSES = frozenset({"difference", "present", "absent"})
#: The fill that a study is set to.
OWN_FILL: Final = ""


@dataclass(frozen=True, order=True)
class Cut:
    """A kind of masked copy.

    Attributes:
        inserted: whether the most salient pixels are given back to a blurred image, rather than taken from the image.
        count: how many pixels.
        fill: what removed pixels are replaced by (``masking.FILLS``); the study's if left out.
        cells: pixels go in blocks, so many a side of the image, by the mean saliency of each; 0 is pixel by pixel.
    """

    inserted: bool
    count: int
    fill: str = OWN_FILL
    cells: int = 0


#: The image as it is. Asking for it costs no run.
UNMASKED = Cut(inserted=False, count=0)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a map of a batch was asked.

    Attributes:
        contrast: the map's own.
        logits: of the unmasked images.
        targets: class c.
        others: class d.
        drawn: another class of each image, drawn by lot: neither c nor d, nor one that a contrast names; ``None``
            where there are not enough classes.
    """

    contrast: Contrast
    logits: Float[Tensor, "b C"]
    targets: Int[Tensor, " b"]
    others: Int[Tensor, " b"]
    drawn: Int[Tensor, " b"] | None


@dataclass(frozen=True)
class OtherMap:
    """Another question, put to the same images and answered by the same method.

    Attributes:
        name: under which a view has its maps.
        asks: given what a map was asked, the other contrast and the classes that it explains; ``None`` where there is
            no such question.
    """

    name: str
    asks: Callable[[Asked], tuple[Contrast, Int[Tensor, " b"]] | None]


def _plain_of_other(asked: Asked) -> tuple[Contrast, Int[Tensor, " b"]]:
    return PLAIN, asked.others


def _of_drawn(asked: Asked) -> tuple[Contrast, Int[Tensor, " b"]] | None:
    return None if asked.drawn is None else (asked.contrast, asked.drawn)


def _reversed(asked: Asked) -> tuple[Contrast, Int[Tensor, " b"]] | None:
    if asked.contrast.strength == 0 and not asked.contrast.reverse:
        return PLAIN, asked.others
    if asked.contrast.weighting == "official":
        return None
    return asked.contrast.changed(reverse=not asked.contrast.reverse), asked.targets


#: The plain map of class d.
OTHER_CLASS = OtherMap("other class", _plain_of_other)
#: The same question about a class chosen at random.
RANDOM_CLASS = OtherMap("random class", _of_drawn)
#: The question the other way round; for a plain map, the plain map of class d.
REVERSED = OtherMap("reversed", _reversed)


def no_cuts(pixels: int) -> Sequence[Cut]:
    """Return no masked copy."""
    return ()


@dataclass(frozen=True)
class Needs:
    """What a metric needs beside the map.

    Attributes:
        regions: names of regions.
        cuts: the masked copies whose confidences it reads, given the number of pixels of a map.
        parts: whether it needs part points.
        maps: answers to other questions.
    """

    regions: tuple[str, ...] = ()
    cuts: Callable[[int], Sequence[Cut]] = no_cuts
    parts: bool = False
    maps: tuple[OtherMap, ...] = ()

    @property
    def places(self) -> bool:
        """Whether anything must be known of where things are in the photo."""
        return bool(self.regions or self.parts)

    def missing(self, known: Collection[str]) -> str:
        """Return what a data set lacks, as a phrase; empty if nothing.

        Args:
            known: what its photos are annotated with: ``box``, ``mask``, ``parts``, ``difference``, ``present``,
                ``absent``.
        """
        lacking = [region for region in self.regions if region != OBJECT and region not in known]
        if OBJECT in self.regions and not {"box", "mask"} & set(known):
            lacking.append("boxes or masks")
        if self.parts:
            lacking += [name for region, name in (("parts", "part points"), ("box", "boxes")) if region not in known]
        return " and ".join(lacking)


#: What a metric of nothing but the map needs.
NOTHING = Needs()


@dataclass(frozen=True)
class View:
    """One map of each image of a batch, and what it can be held against.

    Attributes:
        saliency: the maps; not negative.
        regions: by name, where things are; an image without the region has an empty one.
        confidences: gives the probabilities of the classes (c, d) after a cut, in float32 or better.
        parts: part points.
        maps: answers to other questions, by name; none of those that the map's kind does not have (a control answers
            no question).
    """

    saliency: Float[Tensor, "b H W"]
    regions: Mapping[str, Bool[Tensor, "b H W"]] = field(default_factory=dict)
    confidences: Callable[[Cut], Float[Tensor, "b 2"]] | None = None
    parts: PartPoints | None = None
    maps: Mapping[str, Float[Tensor, "b H W"]] = field(default_factory=dict)

    @property
    def pixels(self) -> int:
        """How many pixels a map has."""
        return self.saliency.shape[1] * self.saliency.shape[2]

    def region(self, name: str) -> Bool[Tensor, "b H W"]:
        """Return where something is.

        Raises:
            FinercamError: that is not known here.
        """
        if name not in self.regions:
            raise FinercamError(f"there is no region {name!r} here; {_declare(f'regions=({name!r},)')}")
        return self.regions[name]

    def confidence(self, cut: Cut) -> Float[Tensor, "b 2"]:
        """Return the probabilities of the classes (c, d) after a cut.

        Raises:
            FinercamError: no masked copies were run.
        """
        if self.confidences is None:
            raise FinercamError(f"no masked copies were run here; {_declare('cuts=...')}")
        return self.confidences(cut)

    def discs(self, fraction: float) -> Bool[Tensor, "b _P H W"]:
        """Return the pixels near each part, for a radius as a fraction of the object's extent; see ``near_parts``.

        Raises:
            FinercamError: no part points are known.
        """
        if self.parts is None:
            raise FinercamError(f"there are no part points here; {_declare('parts=True')}")
        height, width = self.saliency.shape[1:]
        return self.parts.near(fraction, (height, width)).to(self.saliency.device)

    def answer(self, other: OtherMap) -> Float[Tensor, "b H W"]:
        """Return the maps of another question.

        Raises:
            FinercamError: it was not asked.
        """
        if other.name not in self.maps:
            raise FinercamError(f"the map {other.name!r} was not asked for here; {_declare('maps=(...,)')}")
        return self.maps[other.name]


def _declare(what: str) -> str:
    return f"a metric declares what it reads by needs=Needs({what})"
