"""Planted differences: any data set with a twin of each class that differs by a mark whose pixels are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image

from finercam.data.dataset import Dataset, Example, Item, Repaint
from finercam.data.format import data_format
from finercam.data.painting import changed, plant
from finercam.data.planting import Kinds, Mark, mark_of, place_of, radius_of
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError

#: The largest size of marks: as wide as the object.
LARGEST = 0.5
#: The size of marks where nothing is said.
SIZE = 0.09
_KNOWN = ("difference", "present", "absent")


@data_format(
    "planted",
    "Twins of any data set's classes that differ by a planted mark",
    specs=("planted:DATASET",),
    knows=("box", "mask", "parts", *_KNOWN),
    source="after Zhou et al., AAAI 2022, https://arxiv.org/abs/2104.14403",
)
def read(
    place: str,
    split: str,
    images: int | None = None,
    draw: int = 0,
    *,
    kind: Kinds = "tint",
    size: float = SIZE,
    seed: int = 0,
) -> Dataset:
    """Read another data set, and give each of its classes a twin that differs by a small mark on the photo.

    The classes are the other data set's, followed by their twins in the same order (``Laysan Albatross with a red
    tint``; marks of an unusual size or seed say so in the name). Every photo is there twice, as it is and, right
    after, with its class's mark. The two are equal but for the pixels that the mark changes, so it is known where a
    classifier that tells them apart must look. (Zhou et al. have the class decided by what was planted; here the
    species is left to be told, too.)

    A class has one mark: one of the data set's parts that it lies on, a colour and a direction, drawn by lot from
    ``seed`` and the name of the class. Where that part cannot be seen in a photo, it lies on another one, by a
    preference that is the class's too; of a left and a right one, on the first that is seen. In data without parts
    it lies at a random place of the object, drawn from ``seed`` and the photo's key.

    ``Example.differences`` has, of a photo with a mark, for the class without it, and of a photo as it is, for the
    class with it, the pixels of which a channel differs by more than 12 of 255 between the two photos. What sets
    them apart is absent in a photo as it is, and, if the kind is ``missing``, in the one with the mark instead:
    ``Example.absent``. What is known beside that of the other data set's classes stays.

    Args:
        place: the other data set's spec, ``cub:DIR`` or ``aviary``.
        split: of the other data set.
        images: draw this many photos of the other data set; both forms of each are kept.
        draw: the seed of that draw.
        kind: ``tint``; ``stripes`` or ``spots`` of a colour; ``missing``: the place is filled from its surroundings;
            ``texture``: fine wavy lines without a colour; ``brightness``: lighter where it is dark, and the other way
            round; or ``mixed``: one of these for each class.
        size: radius of the mark, as a share of the square root of the object's box area; of the photo's where there
            are no boxes or masks. Above 0, up to 0.5.
        seed: of the marks.

    Raises:
        FinercamError: a parameter is out of range, or the other data set cannot be read.
    """
    if not 0 < size <= LARGEST:
        raise FinercamError(f"the size of planted marks is {size}; it must be above 0, up to {LARGEST}")
    inner = read_dataset(place, split, images, draw)
    marks = tuple(mark_of(name, kind, seed, inner.part_names) for name in inner.class_names)
    # Other marks make other photos, so they are part of their keys.
    planted = Planted(inner.open, inner.repaint, inner.part_names, marks, size, seed, f"planted/{kind}-{size}-{seed}/")
    # Marks of another size or draw are other classes, which a model that knows these does not have.
    unusual = [f"size {size:g}"] * (size != SIZE) + [f"seed {seed}"] * (seed != 0)
    apart = f" ({', '.join(unusual)})" if unusual else ""
    twins = tuple(f"{name} with {mark.words}{apart}" for name, mark in zip(inner.class_names, marks, strict=True))
    return Dataset(
        name=f"planted:{place}",
        class_names=inner.class_names + twins,
        items=partial(planted.items, inner.items),
        open=planted.open,
        part_names=inner.part_names,
        regions=tuple(dict.fromkeys((*inner.regions, *_KNOWN))),
        repaint=planted.repaint,
    )


@dataclass(frozen=True)
class Planted:
    """How photos get their marks; it holds no photos, and can be sent to another process.

    Attributes:
        open_plain, repaint_plain: the other data set's.
        part_names: the other data set's.
        marks: of each of its classes.
        size, seed: as for ``read``.
        prefix: what the keys of marked photos begin with.
    """

    open_plain: Callable[[Item], Example]
    repaint_plain: Repaint | None
    part_names: tuple[str, ...]
    marks: tuple[Mark, ...]
    size: float
    seed: int
    prefix: str

    def items(self, plain: Callable[[], Iterator[Item]]) -> Iterator[Item]:
        """Yield each item of the other data set, and its marked form."""
        for item in plain():
            yield item
            yield replace(item, key=self.prefix + item.key, label=item.label + len(self.marks))

    def open(self, item: Item) -> Example:
        """Open an item of either form.

        Raises:
            FinercamError: as the other data set's.
        """
        own, twin = self._plain(item), self._twin(item)
        example = self.open_plain(own)
        marked = self._marked(own, example)
        where = changed(example.photo, marked)
        lacks = item.label != own.label if self.marks[own.label].kind == "missing" else item.label == own.label
        absent = example.absent | {twin} if lacks else example.absent
        if item.label == own.label:
            return replace(example, differences={**example.differences, twin: where}, absent=absent)
        others = {label: mask | where for label, mask in example.differences.items()}
        return replace(example, photo=marked, differences={**others, twin: where}, absent=absent)

    def repaint(self, item: Item, label: int) -> Image.Image | None:
        """Return the photo as one of another class: with the mark put on, or taken away again.

        Raises:
            FinercamError: as when the item is opened.
        """
        own = self._plain(item)
        if label == own.label:
            return self.open_plain(own).photo
        if label == own.label + len(self.marks):
            return self._marked(own, self.open_plain(own))
        return self.repaint_plain(own, label) if self.repaint_plain is not None and label < len(self.marks) else None

    def _plain(self, item: Item) -> Item:
        if item.label < len(self.marks):
            return item
        return replace(item, key=item.key.removeprefix(self.prefix), label=item.label - len(self.marks))

    def _twin(self, item: Item) -> int:
        return (item.label + len(self.marks)) % (2 * len(self.marks))

    def _marked(self, own: Item, example: Example) -> Image.Image:
        mark = self.marks[own.label]
        radius = radius_of(self.size, example)
        at = place_of(mark, example, self.part_names, radius, self.seed, own.key)
        return plant(example.photo, mark, at, radius, example.mask)
