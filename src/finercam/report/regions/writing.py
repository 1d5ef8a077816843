"""Regions of a folder of explanations to files of several formats, one explanation at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from finercam.errors import FinercamError, nearest
from finercam.explanations.outlining import Outlined
from finercam.files import whole
from finercam.registry import read_parameters, split_spec
from finercam.texts import encoded

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


def region_files(formats: Sequence[str], folder: Path) -> list[RegionFile]:
    """Return files of these formats: ``coco``, ``coco@polygon``, ``label-studio@box``, ``csv``, ``masks``.

    Raises:
        FinercamError: there is no such format, it has no such shape, or it is given twice.
    """
    from finercam.report.regions.coco import Coco
    from finercam.report.regions.label_studio import LabelStudio
    from finercam.report.regions.masks import Masks
    from finercam.report.regions.table import Table

    known = {"coco": Coco, "label-studio": LabelStudio, "csv": Table, "masks": Masks}
    found: list[RegionFile] = []
    for spec in formats:
        name, _ = split_spec(spec)
        if name not in known:
            raise FinercamError(f"there is no format of regions {name!r}; {nearest(name, known)}")
        if any(type(one) is known[name] for one in found):
            raise FinercamError(f"regions are written as {name} once; give another --out for another shape")
        found.append(known[name](folder, **read_parameters(known[name].__init__, spec)))
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
