"""Files that appear whole or not at all, under names that cannot leave their folder."""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from finercam.errors import FinercamError

try:
    import fcntl
except ImportError:  # Windows has none: what a killed process leaves there stays.
    fcntl = None  # type: ignore[assignment]

#: What unfinished files are called.
_UNFINISHED = ".part-"
#: Bytes that most file systems take for a name, with room for a number and a suffix.
_LONGEST = 200
#: Errors that are about one file and its name; others, such as a full disk, stand in the way of every file.
_OF_ONE = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
    }
)
#: Unfinished files, and the process that writes each: a signal may end a block before it has begun or ended.
_unfinished: set[tuple[int, Path]] = set()
#: Folders in which this process has looked for what killed ones left.
_swept: set[str] = set()


class NotWritten(FinercamError):
    """A file could not be written.

    Args:
        path: of the file.
        error: what stood in the way.
    """

    def __init__(self, path: str | os.PathLike[str], error: OSError) -> None:
        super().__init__(f"{os.fspath(path)} cannot be written: {error.strerror or error}")
        #: Whether the fault lies with this file, so that others may still be written.
        self.alone = error.errno in _OF_ONE


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what is written there takes its place once the block has ended well.

    What a process that was killed has left in the folder is removed.

    Raises:
        NotWritten: it cannot be written, here or in the block.
    """
    path = Path(path)
    with _reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        handle, aside = _held(path)
        try:
            yield aside
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
            os.close(handle)
            _unfinished.discard((os.getpid(), aside))


def append(path: str | os.PathLike[str], content: bytes) -> None:
    """Add to the end of a file in one piece, which is there when this returns.

    Raises:
        NotWritten: it cannot be written; the file is then as it was.
    """
    with _reported(path):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(handle).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(handle, rest) :]
            except BaseException:
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Return a folder for results, which need not be there yet.

    Raises:
        FinercamError: there is a file at the path or above it.
    """
    path = Path(path)
    for place in (path, *path.parents):
        if os.path.isdir(place):
            return path
        if os.path.lexists(place):
            where = "" if place == path else f"{str(path)!r} lies below a file: "
            raise FinercamError(f"{where}{str(place)!r} is a file; give a folder for the results")
    return path


def file_name(text: str) -> str:
    """Return text as the name of a file or folder in the folder it is meant for, whatever the text.

    Separators, control characters and bytes that are not UTF-8 become ``_``, and so does a dot at the beginning. A name
    too long for file systems is cut, and ends in a hash of the whole.
    """
    name = re.sub(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", "_", text)
    name = re.sub(r"^(\.|$)", "_", name)
    content = name.encode("utf-8")
    if len(content) <= _LONGEST:
        return name
    told = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{content[: _LONGEST - 9].decode('utf-8', 'ignore')}-{told}"


def result_path(folder: Path, *names: str) -> Path:
    """Return where in a folder a result of these names goes: the one place where such paths are made."""
    return folder.joinpath(*map(file_name, names))


@contextmanager
def _reported(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(path, error) from error


def _held(path: Path) -> tuple[int, Path]:
    """Make a temporary file that is locked for as long as this process lives, and return its handle and path."""
    while True:
        aside = path.with_name(f"{_UNFINISHED}{secrets.token_hex(6)}{path.suffix[-20:]}")
        # Noted before it is there: a signal may come at any moment.
        _unfinished.add((os.getpid(), aside))
        handle = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        _lock(handle)
        # Another process may have taken it for a dead one's before it was locked.
        if aside.exists():
            return handle, aside
        os.close(handle)


@atexit.register
def _remove_unfinished() -> None:
    for process, aside in list(_unfinished):
        if process == os.getpid():
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove unfinished files whose process is dead, once in each folder."""
    if str(folder) in _swept:
        return
    _swept.add(str(folder))
    if fcntl is None:
        return
    with os.scandir(folder) as entries:
        names = [entry.path for entry in entries if entry.name.startswith(_UNFINISHED)]
    for name in names:
        # Another process may be sweeping too.
        with suppress(OSError):
            handle = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(handle):
                    os.unlink(name)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file, and return whether that could be done; there are file systems that know no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
