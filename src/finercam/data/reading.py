"""``read_dataset()``: a data set from what a person writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from heapq import nsmallest
from importlib import import_module

from finercam.data.dataset import SPLITS, Dataset, Item
from finercam.errors import FinercamError, nearest

#: Format -> (module with its ``read(place, split)``, what else to call that with).
FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "folder": ("finercam.data.formats.folder", {}),
    "cub": ("finercam.data.formats.cub", {}),
    "cars": ("finercam.data.formats.cars", {}),
    "aircraft": ("finercam.data.formats.aircraft", {}),
    "aircraft-family": ("finercam.data.formats.aircraft", {"level": "family"}),
    "birds525": ("finercam.data.formats.birds525", {}),
    "fishvista": ("finercam.data.formats.fishvista", {}),
    "fishvista-segmentation": ("finercam.data.formats.fishvista", {"task": "segmentation"}),
}


def read_dataset(spec: str, split: str = "test", images: int | None = None, seed: int = 0) -> Dataset:
    """Return a data set, or one split of it, or some pictures of that.

    Args:
        spec: ``FORMAT:DIR``, where the format is one of ``FORMATS`` (``folder:`` takes URIs as well), or ``aviary``
            or ``aviary:biased``, which need no data.
        split: ``train``, ``test`` (the publisher's) or ``all``. What has no split is read whole.
        images: take this many, drawn without replacement and kept in their order; more than there are takes all.
            The draw depends on the keys and the seed only, and a smaller draw is part of a larger one.
        seed: of the draw; for the aviary of its pictures.

    Raises:
        FinercamError: no such format or split, or the data is missing, in part or whole, or not what it should be.
    """
    if split not in SPLITS:
        raise FinercamError(f"split is {split!r}; {nearest(split, SPLITS)}")
    if images is not None and images < 1:
        raise FinercamError(f"images is {images}; give a number from 1 upwards")
    kind, _, place = spec.partition(":")
    if kind == "aviary" and place in ("", "biased"):
        from finercam.aviary import format as from_aviary

        return replace(from_aviary.read(split, images, seed, biased=place == "biased"), name=spec)
    if kind not in FORMATS or not place:
        raise FinercamError(f"{spec!r} is no data set: {_hint(kind)}")
    module, options = FORMATS[kind]
    read: Callable[..., Dataset] = import_module(module).read
    dataset = replace(read(place, split, **options), name=spec)
    return dataset if images is None else draw(dataset, images, seed)


def draw(dataset: Dataset, images: int, seed: int) -> Dataset:
    """Return the data set with ``images`` of its items, or all if there are no more, in the same order.

    Items are ranked by a hash of key and seed, in one pass that holds no more than are drawn.
    """
    ranked = ((_rank(item.key, seed), index) for index, item in enumerate(dataset.items()))
    chosen = tuple(sorted(index for _, index in nsmallest(images, ranked)))
    return replace(dataset, items=partial(_pick, dataset.items, chosen))


def _rank(key: str, seed: int) -> bytes:
    return blake2b(f"{seed}/{key}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _pick(items: Callable[[], Iterator[Item]], chosen: Sequence[int]) -> Iterator[Item]:
    wanted = iter(chosen)
    next_one = next(wanted, None)
    for index, item in enumerate(items()):
        if next_one is None:
            return
        if index == next_one:
            yield item
            next_one = next(wanted, None)


def _hint(kind: str) -> str:
    ways = ", ".join([*(f"{name}:DIR" for name in FORMATS), "aviary", "aviary:biased"])
    if kind == "aviary" or kind in FORMATS:
        return f"write {kind}:{'biased, or aviary alone' if kind == 'aviary' else 'DIR'}"
    if os.path.isdir(kind):
        return f"write its format before the folder: {ways}"
    return f"{nearest(kind, [*FORMATS, 'aviary'])} There are {ways}"
