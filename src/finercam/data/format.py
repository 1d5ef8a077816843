"""Data formats: how a data set is named in a spec, what is known of its photos, and the function that reads it.

A format is one function, registered where it is written: in a file of ``finercam/data/formats``, in a package with an
entry point in the group ``finercam.formats``, or in any module that is imported before it is asked for.

    @data_format("shells", "Shells of the North Sea", knows=("box",), source="https://example.org/shells")
    def read(place: str, split: str) -> Dataset:
        ...

``read_dataset("shells:DIR")`` then calls ``read("DIR", "test")``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TypeVar

from finercam.data.dataset import Dataset
from finercam.data.layout import Choose
from finercam.errors import FinercamError, nearest
from finercam.registry import Registry

#: What may be known: of photos where things are (as in ``Dataset.regions``), and the attributes of classes.
KNOWN = ("box", "mask", "parts", "difference", "present", "absent", "attributes")

Reader = TypeVar("Reader", bound=Callable[..., Dataset])


@dataclass(frozen=True)
class Format:
    """A data format.

    Attributes:
        name: what comes before the colon of a spec.
        title: for people, one line.
        read: ``read(place, split)`` returns the data set, or one split of it; its docstring describes the format. A
            reader that makes its pictures itself is ``read(place, split, images, seed)``. Keyword-only parameters
            can be set in a spec: ``name@value:DIR``, ``name@key=value:DIR``.
        specs: the ways to write it, ``("cub:DIR",)``. A place is needed unless the bare name is among them.
        knows: what may be known of its photos and classes, of ``KNOWN``; a download may hold less.
        source: the paper and the page where the data can be had; empty if there is none.
        layout: what a download holds, given its folder and the parameters of ``read``; ``None`` where there is none.
    """

    name: str
    title: str
    read: Callable[..., Dataset]
    specs: tuple[str, ...]
    knows: tuple[str, ...] = ()
    source: str = ""
    layout: Choose | None = None

    @property
    def needs_place(self) -> bool:
        """Whether a spec has to say where the data is."""
        return self.name not in self.specs

    @property
    def draws(self) -> bool:
        """Whether the reader makes its pictures itself, as many as asked, instead of finding them."""
        return "images" in signature(self.read).parameters


#: All formats: ``FORMATS.values()`` is what ``finercam datasets`` lists.
FORMATS: Registry[Format] = Registry("data format", "finercam.formats", "finercam.data.formats")


def data_format(
    name: str,
    title: str,
    *,
    specs: Sequence[str] = (),
    knows: Sequence[str] = (),
    source: str = "",
    layout: Choose | None = None,
) -> Callable[[Reader], Reader]:
    """Register the function below as the reader of a data format; the arguments are those of ``Format``.

    Args:
        name: must not be taken; case, hyphens and underscores do not matter.
        title: for people, one line.
        specs: the ways to write it; by default ``NAME:DIR``.
        knows: what may be known of the photos and classes: of ``KNOWN``; ``present`` and ``absent`` are whether
            what sets two classes apart is to be seen in a photo.
        source: the paper and the page where the data can be had.
        layout: what a download holds, given its folder and the parameters of the reader, for ``finercam datasets
            check``.

    Raises:
        FinercamError: the name is taken or cannot be written in a spec, or ``knows`` holds something else.
    """
    if ":" in name:
        raise FinercamError(f"{name!r} cannot be the name of a data format: the place follows the first colon")
    for one in knows:
        if one not in KNOWN:
            raise FinercamError(f"data format {name!r} says that it knows {one!r}; {nearest(one, KNOWN)}")

    def register(reader: Reader) -> Reader:
        FORMATS.add(name, Format(name, title, reader, tuple(specs) or (f"{name}:DIR",), tuple(knows), source, layout))
        return reader

    return register
