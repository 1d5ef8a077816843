"""Regions of a folder of explanations to files of several formats, one explanation at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from finercam.errors import FinercamError
from finercam.explanations.outlining import Outlined
from finercam.files import whole
from finercam.registry import Registry, read_parameters, split_spec
from finercam.texts import encoded

Kind = TypeVar("Kind", bound="RegionFile")
#: How a region is written where a format has several ways.
Shape: TypeAlias = Literal["mask", "polygon", "box"]


class RegionFile(ABC):
    """A file, or folder of files, of regions.

    Args:
        folder: that it is in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def add(self, outlined: Outlined) -> None:
        """Take the regions of one explanation; there may be none."""

    @abstractmethod
    def close(self) -> Path:
        """Write what is to be written at the end, and return where it is."""

    def _write(self, name: str, text: str) -> Path:
        with whole(self.folder / name) as aside:
            aside.write_bytes(encoded(text))
        return self.folder / name


#: Formats of regions by name; keyword-only arguments are what a spec may set (``coco@polygon``).
REGION_FILES: Registry[type[RegionFile]] = Registry("format of regions", "finercam.regions", "finercam.report.regions")


def region_file(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Register a ``RegionFile`` as the format of this name.

    Raises:
        FinercamError: there is a format of that name already.
    """

    def register(kind: type[Kind]) -> type[Kind]:
        REGION_FILES.add(name, kind)
        return kind

    return register


def region_files(specs: Sequence[str], folder: Path) -> list[RegionFile]:
    """Return files of these formats: ``coco``, ``coco@polygon``, ``label-studio@box``, ``csv``, ``masks``.

    Raises:
        FinercamError: there is no such format, it has no such shape, or it is given twice.
    """
    found: list[RegionFile] = []
    for spec in specs:
        name, _ = split_spec(spec)
        kind = REGION_FILES.find(name)
        if any(type(one) is kind for one in found):
            raise FinercamError(f"regions are written as {name} once; give another --out for another shape")
        found.append(kind(folder, **read_parameters(kind.__init__, spec)))
    return found


def write_regions(outlined: Iterable[Outlined], files: Sequence[RegionFile]) -> Iterator[Outlined]:
    """Write explanations' regions and yield each when it is taken; the files are there when all are through.

    Those that failed are passed on and not written.

    Raises:
        NotWritten: a file cannot be written.
    """
    for one in outlined:
        if one.error is None:
            for file in files:
                file.add(one)
        yield one
    for file in files:
        file.close()
