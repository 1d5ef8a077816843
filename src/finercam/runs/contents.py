"""What photos are made of, so that a run is resumed only on the same ones.

Of up to 1 GiB of files every byte counts. Of more, the size and time of every file do, and every byte of 256 of them.
Of files in a store, which take a request each, every byte of 64 does. What is not a file, such as a picture that is
drawn, is told by its key and by the code that draws it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import nsmallest

from finercam.data.dataset import Item
from finercam.data.part_masks import mask_files
from finercam.data.storage import is_uri, read_bytes
from finercam.errors import FinercamError
from finercam.runs.manifest import NAME, Manifest
from finercam.runs.run_folder import RunFolder

#: Bytes of local files that are all read, and how many files are where there are more, here and in a store.
ALL_READ, SAMPLE, SAMPLE_OF_STORE = 1 << 30, 256, 64
_AT_ONCE = 16


@dataclass(frozen=True)
class Contents:
    """How the contents of items are told.

    Attributes:
        all_read: whether every byte of every local file counts.
        read: files of which every byte counts, else and in a store.
    """

    all_read: bool
    read: frozenset[str]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Contents:
        """Return how those of these items are told; they are gone through once, and not held."""
        here, stored, total = _Smallest(SAMPLE), _Smallest(SAMPLE_OF_STORE), 0
        for item in items:
            for place in _places(item):
                if is_uri(place):
                    stored.add(place)
                else:
                    here.add(place)
                    total += (_stated(place) or (0, 0))[0]
        return cls(total <= ALL_READ, frozenset(stored.found() if total <= ALL_READ else here.found() + stored.found()))

    def tell(self, items: Sequence[Item]) -> list[str]:
        """Return a text for each item that is another where its photo or a mask of it is."""
        read = [item for item in items if self._is_read(item)]
        # Threads wait for files; where sizes and times are all that is asked they would take longer than the asking.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            waiting = threads.map(self._of, read)
            return [next(waiting) if self._is_read(item) else self._of(item) for item in items]

    def digest(self, items: Iterable[Item]) -> str:
        """Return the SHA-256 of what is told of all items."""
        return hashlib.sha256("\n".join(self.tell(list(items))).encode()).hexdigest()

    def _is_read(self, item: Item) -> bool:
        return self.all_read or not self.read.isdisjoint(_places(item))

    def _of(self, item: Item) -> str:
        return " ".join(filter(None, map(self._of_place, _places(item))))

    def _of_place(self, place: str) -> str:
        told = ""
        read = place in self.read
        if not is_uri(place):
            stated = _stated(place)
            if stated is None:
                return ""
            told = "" if self.all_read else "{}@{}".format(*stated)
            read = read or self.all_read
        return told + (_hash(place) if read else "")


def refuse_changed(folder: RunFolder, manifest: Manifest, contents: Contents) -> bool:
    """Raise if a photo was changed since it was measured; return whether any other was.

    A photo that failed may be mended, and one that is yet to be measured may be any.

    Raises:
        FinercamError: there is one.
    """
    changed = False
    there = set(folder.parts())
    for part in range(manifest.parts):
        entries = manifest.part(part)
        now = contents.tell([entry.item for entry in entries])
        others = [entry for entry, a, b in zip(entries, manifest.contents(part), now, strict=True) if a != b]
        if not others:
            continue
        changed = True
        measured = folder.measured(part) if part in there else set()
        first = next((entry for entry in others if entry.id in measured), None)
        if first is not None:
            raise FinercamError(
                f"{first.item.uri} has changed since this run began, and {folder.folder.uri} already has rows of it "
                f"({NAME} says what it was); put it back, or give another --out"
            )
    return changed


class _Smallest:
    """The texts whose hashes are the smallest, of any number that come by."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[tuple[bytes, str]] = []

    def add(self, text: str) -> None:
        ranked = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        self._held.append((ranked, text))
        if len(self._held) >= 16 * self._count:
            self._held = nsmallest(self._count, set(self._held))

    def found(self) -> list[str]:
        return [text for _, text in nsmallest(self._count, set(self._held))]


def _places(item: Item) -> list[str]:
    masks = [] if item.part_mask is None else mask_files(item.part_mask)
    return list(dict.fromkeys([item.uri, *([] if item.mask is None else [item.mask]), *masks]))


def _stated(place: str) -> tuple[int, int] | None:
    """Return a local file's size and time, or ``None`` where there is no file."""
    try:
        found = os.stat(place)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _hash(place: str) -> str:
    try:
        return hashlib.sha256(read_bytes(place)).hexdigest()
    except FinercamError:
        return "cannot be read"
