"""A folder that results go to: on this machine, or anywhere fsspec reaches (``s3://bucket/run``)."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from finercam.errors import FinercamError
from finercam.files import whole


@dataclass(frozen=True)
class Folder:
    """A folder whose files appear whole or not at all.

    Args:
        uri: a path, or a URI.
    """

    uri: str

    @property
    def local(self) -> bool:
        """Whether it is on this machine's file system."""
        return "://" not in self.uri or self.uri.startswith("file://")

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The file system and the folder's path in it."""
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(self.uri)
        except ImportError as error:
            raise FinercamError(f"{self.uri!r} needs another package: {error}") from error
        except ValueError as error:
            raise FinercamError(f"{self.uri!r} is no place that can be written to: {error}") from error
        return system, path

    @property
    def filesystem(self) -> Any:
        """The fsspec file system that ``path`` is in."""
        return self._system[0]

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, replacing one of that name."""
        system, root = self._system
        if self.local:
            with whole(Path(root) / name) as aside:
                aside.write_bytes(content)
        else:
            # Object stores show an object when all of it has arrived.
            system.pipe_file(self.path(name), content)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is no such file."""
        system, _ = self._system
        try:
            return system.cat_file(self.path(name))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> Any:
        """Open a file for reading bytes at any place in it."""
        return self._system[0].open(self.path(name), "rb")

    def names(self, below: str = "") -> list[str]:
        """Return the names of the files directly in a folder below, leaving out unfinished ones."""
        system, _ = self._system
        system.invalidate_cache()
        try:
            found = system.ls(self.path(below) if below else self._system[1], detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [posixpath.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == "file"]
        return sorted(name for name in names if name and not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._system[0].rm_file(self.path(name))

    def path(self, name: str) -> str:
        """Return a file's path in its file system."""
        return posixpath.join(self._system[1], name)

    def __getstate__(self) -> dict[str, str]:
        # A file system may hold connections; another process makes its own.
        return {"uri": self.uri}
