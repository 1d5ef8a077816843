"""``find_photos()``: the photos at what a person writes, and what was passed over on the way there."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finercam.data.photos import CONVERTED, HEIF, HEIF_PACKAGE, Crop, has_heif, is_photo_name, suffix_of
from finercam.errors import FinercamError

#: Files by which a folder shows that it holds results: pictures in it were made, not taken.
RESULTS = ("explanations.jsonl", "concepts.jsonl", "run.json", "probe.json", "similarity.png")


@dataclass(frozen=True)
class Found:
    """Photos, or animals on them, and what was passed over.

    Attributes:
        photos: each file, or crop of one, and the path to name its results by.
        skipped: a sentence for each kind of thing that was passed over.
    """

    photos: tuple[tuple[Path | Crop, Path], ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[tuple[Path | Crop, Path]]:
        return iter(self.photos)


def holds_results(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder on this machine holds what a command of finercam wrote."""
    return any(os.path.exists(os.path.join(folder, name)) for name in RESULTS)


class PassedOver:
    """What was passed over in a search for photos, counted as it goes along."""

    def __init__(self) -> None:
        self._folders: dict[str, None] = {}
        self._unread: dict[str, None] = {}
        self._suffixes: Counter[str] = Counter()

    def takes(self, name: str) -> bool:
        """Return whether a file is a photo that can be read, by its name; one that could be, if converted, is noted."""
        suffix = suffix_of(name)
        if suffix in CONVERTED or (suffix in HEIF and not has_heif()):
            self._suffixes[suffix] += 1
        return is_photo_name(name)

    def note_results(self, folder: str) -> None:
        """Note a folder that was not searched because it holds results."""
        self._folders.setdefault(folder)

    def note_unread(self, folder: str) -> None:
        """Note a folder that cannot be read."""
        self._unread.setdefault(folder)

    def sentences(self) -> tuple[str, ...]:
        """Return what was passed over, a sentence for each kind."""
        said = []
        for suffix, count in sorted(self._suffixes.items()):
            advice = f"pip install {HEIF_PACKAGE}" if suffix in HEIF else "save them as JPEG or PNG"
            said.append(f"{count} {'file' if count == 1 else 'files'} skipped ({suffix}); {advice}")
        for folders, why in ((self._folders, "hold results"), (self._unread, "cannot be read")):
            if folders:
                named = ", ".join(map(repr, list(folders)[:3])) + (" and others" if len(folders) > 3 else "")
                said.append(f"not searched: {named}, which {why}")
        return tuple(said)


def find_photos(given: Iterable[str], out: str | os.PathLike[str] | None = None) -> Found:
    """Return the photos at files, folders (with all below them) and glob patterns, each once.

    Folders that hold results are not searched, and neither is ``out``; a photo named by itself is always taken.

    Args:
        given: what a person wrote.
        out: the folder that results go to.

    Raises:
        FinercamError: there is no photo at one of them, or ``out`` is a folder to be searched.
    """
    search = _Search(None if out is None else os.path.realpath(out))
    photos: dict[str, tuple[Path, Path]] = {}
    for pattern in given:
        found = search.at(pattern)
        if not found:
            raise FinercamError(
                f"there is no photo at {pattern!r}; give photos, a folder of photos or a pattern like 'dir/*.jpg'"
                + "".join(f"; {sentence}" for sentence in search.passed.sentences())
            )
        for file, relative in found:
            photos.setdefault(os.path.realpath(file), (file, relative))
    return Found(tuple(photos.values()), search.passed.sentences())


class _Search:
    def __init__(self, out: str | None) -> None:
        self._out = out
        self.passed = PassedOver()

    def at(self, pattern: str) -> list[tuple[Path, Path]]:
        # Not Path's own questions, which raise where a name is too long.
        if os.path.isdir(pattern):
            if os.path.realpath(pattern) == self._out:
                raise FinercamError(f"results cannot lie among the photos of {pattern!r}; give another --out")
            return [(file, file.relative_to(pattern)) for file in self._below(pattern)]
        if os.path.exists(pattern):
            return [(Path(pattern), Path(Path(pattern).name))]
        matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(match)]
        return [(file, Path(file.name)) for file in matches if self.passed.takes(file.name) and not self._made(file)]

    def _below(self, top: str) -> list[Path]:
        found = []
        for folder, below, names in os.walk(top, onerror=lambda error: self.passed.note_unread(str(error.filename))):
            below[:] = [name for name in sorted(below) if not self._is_made(os.path.join(folder, name))]
            found += [Path(folder, name) for name in names if self.passed.takes(name)]
        return sorted(file for file in found if file.is_file())

    def _made(self, file: Path) -> bool:
        """Return whether a match of a pattern lies among results."""
        return any(self._is_made(str(parent)) for parent in file.parents)

    def _is_made(self, folder: str) -> bool:
        made = os.path.realpath(folder) == self._out or holds_results(folder)
        if made:
            self.passed.note_results(folder)
        return made
