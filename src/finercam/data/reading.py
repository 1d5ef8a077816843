"""``read_dataset()``: a data set from what a person writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from heapq import nsmallest

from finercam.data.dataset import SPLITS, Dataset, Item, Sample
from finercam.data.format import FORMATS, Format
from finercam.data.layout import Found, Layout, check
from finercam.errors import FinercamError, check_between, nearest
from finercam.registry import folded, parameters_of, read_parameters, split_spec

#: Photos in a sample.
MOST_IMAGES = 100_000_000


def read_dataset(spec: str, split: str = "test", images: int | None = None, seed: int = 0) -> Dataset:
    """Return a data set, or one split of it, or some pictures of that.

    Args:
        spec: ``FORMAT:DIR``, where the format is one of ``FORMATS`` (``folder:`` takes URIs as well), or ``FORMAT``
            alone where no data is needed. Parameters of the format come before the colon: ``aircraft@family:DIR``.
        split: ``train``, ``test`` (the publisher's) or ``all``. A data set without splits is read whole.
        images: take this many, drawn without replacement and kept in their order; all if there are no more.
            The draw depends only on the keys and the seed, and a smaller draw is part of a larger one.
        seed: of the draw; of the pictures themselves where the format makes them.

    Raises:
        FinercamError: there is no such format or split, or the data is missing, incomplete or malformed.
    """
    if split not in SPLITS:
        raise FinercamError(f"split is {split!r}; {nearest(split, SPLITS)}")
    if images is not None:
        check_between("images", images, 1, MOST_IMAGES)
    head, known, place = _parts(spec)
    arguments = (place, split, images, seed) if known.draws else (place, split)
    dataset = replace(known.read(*arguments, **read_parameters(known.read, head)), name=spec)
    return dataset if images is None or known.draws else draw(dataset, images, seed)


def check_download(spec: str) -> tuple[Layout | None, list[Found]]:
    """Return what a download of a published data set should hold, and where each part of it is.

    Args:
        spec: as for ``read_dataset``.

    Returns:
        The layout, and a line for each part; ``None`` and no lines where the format has no layout.

    Raises:
        FinercamError: there is no such format or folder.
    """
    head, known, place = _parts(spec)
    if known.layout is None:
        return None, []
    own = parameters_of(known.layout)
    given = {name: value for name, value in read_parameters(known.read, head).items() if name in own}
    layout = known.layout(place, **given)
    return layout, check(layout, place)


def _parts(spec: str) -> tuple[str, Format, str]:
    """Return what stands before the colon of a spec, the format of that name, and the place."""
    head, _, place = spec.partition(":")
    known = _find(head, spec)
    if known.needs_place and not place:
        raise FinercamError(f"{spec!r} is not a data set: write {' or '.join(known.specs)}")
    return head, known, place


def _find(head: str, spec: str) -> Format:
    """Return the format of what comes before the colon of a spec."""
    name, _ = split_spec(head)
    if folded(name) in map(folded, FORMATS):
        return FORMATS.find(name)
    if os.path.isdir(head):
        ways = ", ".join(known.specs[0] for known in FORMATS.values() if known.needs_place)
        hint = f"write its format before the folder: {ways}"
    else:
        called = {known.name: known.specs[0] for known in FORMATS.values()}
        hint = nearest(name, sorted(way for known in FORMATS.values() for way in known.specs), called=called)
    raise FinercamError(f"{spec!r} is not a data set: {hint}")


def draw(dataset: Dataset, images: int, seed: int, takes: Callable[[Item], bool] = lambda item: True) -> Dataset:
    """Return the data set with ``images`` of its items, or all if there are no more, in the same order.

    Items are ranked by a hash of key and seed, in one pass that holds no more than are drawn.

    Args:
        dataset, images, seed: as for ``read_dataset``.
        takes: which items may be drawn.
    """
    ranked = ((_rank(item.key, seed), index) for index, item in enumerate(dataset.items()) if takes(item))
    chosen = tuple(sorted(index for _, index in nsmallest(images, ranked)))
    return replace(dataset, items=partial(_pick, dataset.items, chosen), sample=Sample(dataset, images, seed))


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
