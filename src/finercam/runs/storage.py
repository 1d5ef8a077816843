"""A folder that results go to: on this machine, or anywhere fsspec reaches (``s3://bucket/run``)."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finercam.errors import FinercamError
from finercam.files import whole


@dataclass(frozen=True)
class Folder:
    """A folder whose files appear whole or not at all.

    Whatever goes wrong with it is a ``FinercamError`` that names the file.

    Args:
        uri: a path, or a URI.
    """

    uri: str

    @property
    def local(self) -> bool:
        """Whether it is on this machine's file system."""
        return "://" not in self.uri or self.uri.startswith("file://")

    @property
    def filesystem(self) -> Any:
        """The fsspec file system that ``path`` is in."""
        return self._system()[0]

    def path(self, name: str) -> str:
        """Return a file's path in its file system."""
        return posixpath.join(self._system()[1], name) if name else self._system()[1]

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, replacing one of that name."""
        with self._reported(name, "written"):
            if self.local:
                with whole(Path(self.path(name))) as aside:
                    aside.write_bytes(content)
            else:
                # Object stores show an object when all of it has arrived.
                self.filesystem.pipe_file(self.path(name), content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a path on this machine; what is written there, however long, is put in place at the block's end."""
        with self._reported(name, "written"):
            if self.local:
                with whole(Path(self.path(name))) as aside:
                    yield aside
            else:
                with tempfile.TemporaryDirectory(prefix="finercam-") as folder:
                    aside = Path(folder, posixpath.basename(name))
                    yield aside
                    self.filesystem.put_file(str(aside), self.path(name))

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is no such file."""
        with self._reported(name, "read"):
            try:
                return self.filesystem.cat_file(self.path(name))
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        """Open a file for reading bytes at any place in it."""
        with self._reported(name, "read"):
            return self.filesystem.open(self.path(name), "rb")

    def names(self, below: str = "") -> list[str]:
        """Return the names of the files directly in a folder below, leaving out unfinished ones."""
        return [name for name, kind in self._listing(below) if kind == "file"]

    def empty(self) -> bool:
        """Return whether nothing lies in it, folders included; also where there is no such folder."""
        return not self._listing("")

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._reported(name, "removed"):
            self.filesystem.rm_file(self.path(name))

    def _listing(self, below: str) -> list[tuple[str, str]]:
        with self._reported(below, "read"):
            system = self.filesystem
            # What another process has written since is wanted.
            system.invalidate_cache()
            try:
                found = system.ls(self.path(below), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        own = posixpath.basename(self.path(below).rstrip("/"))
        named = [(posixpath.basename(entry["name"].rstrip("/")), entry) for entry in found]
        # Object stores list a folder's own marker as lying in itself.
        marker = {own} if not self.local else set()
        return sorted(
            (name, entry["type"])
            for name, entry in named
            if name and not name.startswith(".") and not (name in marker and entry["name"].endswith("/"))
        )

    def _system(self) -> tuple[Any, str]:
        # Asked for anew each time: fsspec keeps the instances of a process, and one with connections must not be
        # taken along into another process, by pickle or by fork.
        import fsspec

        try:
            return fsspec.core.url_to_fs(self.uri)
        except ImportError as error:
            raise FinercamError(f"{self.uri!r} needs another package: {error}") from error
        except ValueError as error:
            raise FinercamError(f"{self.uri!r} cannot be written to: {error}") from error

    @contextmanager
    def _reported(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except FinercamError:
            raise
        except Exception as error:
            # Each store has its own errors (credentials, networks); their first line says it best.
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            place = "/".join(part for part in (self.uri.rstrip("/"), name) if part)
            raise FinercamError(f"{place} cannot be {done}: {said}") from error
