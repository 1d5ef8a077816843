"""Files and folders wherever data sets are kept: on disk, or behind a URI that fsspec opens (``s3://bucket/photos``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finercam.errors import FinercamError


@dataclass(frozen=True)
class Listing:
    """Names of what lies directly in a folder, sorted; hidden files and folders are left out."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def is_uri(place: str) -> bool:
    """Return whether ``place`` is a URI rather than a path."""
    return "://" in place


def below(place: str, *names: str) -> str:
    """Return the place of something in a folder; in a chained URI (``zip://photos::s3://...``) the first one."""
    head, chained, rest = place.partition("::")
    return "/".join([head.rstrip("/") if head.strip("/") else head, *names]) + chained + rest


def listing(place: str) -> Listing:
    """Return what lies directly in a folder, from one listing, without looking at each file.

    Raises:
        FinercamError: there is no such folder, or it cannot be read.
    """
    with _reported(place):
        folders, files = _remote(place) if is_uri(place) else _local(place)
    return Listing(*(tuple(sorted(name for name in names if not _hidden(name))) for names in (folders, files)))


def read_bytes(place: str) -> bytes:
    """Return a file's content.

    Raises:
        FinercamError: there is no such file, or it cannot be read.
    """
    with _reported(place):
        if is_uri(place):
            system, path = _file_system(place)
            return system.cat_file(path)
        # A pipe would be waited for without end.
        if os.path.exists(place) and not os.path.isfile(place):
            raise FinercamError(f"{place!r} is not a file")
        with open(place, "rb") as file:
            return file.read()


def _local(place: str) -> tuple[set[str], set[str]]:
    folders: set[str] = set()
    files: set[str] = set()
    with os.scandir(place) as entries:
        for entry in entries:
            (folders if entry.is_dir() else files).add(entry.name)
    return folders, files


def _remote(place: str) -> tuple[set[str], set[str]]:
    # Cached listings of millions of files would not fit into memory.
    system, path = _file_system(place, use_listings_cache=False)
    folders: set[str] = set()
    files: set[str] = set()
    for entry in system.ls(path, detail=True):
        name = entry["name"].rstrip("/")
        # Object stores list a folder's own marker, and a path that is a file, as lying in itself.
        if name.strip("/") != path.strip("/"):
            (folders if entry["type"] == "directory" else files).add(name.rsplit("/", 1)[-1])
        elif entry["type"] == "file" and not entry["name"].endswith("/") and entry.get("size"):
            raise NotADirectoryError
    return folders, files


def _file_system(place: str, **options: Any) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

    system, path = url_to_fs(place, **options)
    return system, path


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@contextmanager
def _reported(place: str) -> Iterator[None]:
    """Turn whatever a file system raises into a FinercamError that names the place."""
    try:
        yield
    except FinercamError:
        raise
    except FileNotFoundError:
        raise FinercamError(f"there is no file or folder {place!r}") from None
    except NotADirectoryError:
        raise FinercamError(f"{place!r} is not a folder") from None
    except ImportError as error:
        raise FinercamError(f"{place!r} needs a package that is not installed: {error}") from error
    except Exception as error:
        # Each store has its own errors (credentials, networks, archives); their first line says most.
        first = next(iter(str(error).splitlines()), "")
        raise FinercamError(f"{place!r} cannot be read: {type(error).__name__}: {first}") from error
