"""From what a person writes to a source and a checkpoint, and what loading from any source has in common."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from finercam.errors import FinercamError, nearest
from finercam.models.source import SOURCES, Checkpoint, Saved, Source
from finercam.texts import shortened


def find_model(
    spec: str | os.PathLike[str], pretrained: bool = True, revision: str | None = None
) -> tuple[Source, Checkpoint]:
    """Return the source of a model, and what that source knows the model by.

    Args:
        spec: ``SOURCE/NAME``, the name of a source that is a single model, or a folder that a source recognises.
        pretrained, revision: as in ``Checkpoint``.

    Raises:
        FinercamError: it is neither a model's name nor the folder of one.
    """
    spec = os.fspath(spec)
    head, slash, name = spec.partition("/")
    source = SOURCES.get(head)
    if source is not None and bool(slash) == bool(name) and source.takes(name):
        return source, Checkpoint(name, pretrained, revision)
    # An empty path would be the working directory.
    if spec and os.path.isdir(spec):
        source, name = _recognise(Path(spec))
        return source, Checkpoint(name, pretrained, revision)
    if source is not None:
        hint = f"write {', '.join(source.specs)}"
    else:
        known = [SOURCES[name] for name in sorted(SOURCES)]
        specs = [spec for one in known for spec in one.specs]
        hint = nearest(head, specs, called={one.name: one.specs[0] for one in known})
    raise FinercamError(f"{shortened(spec)!r} is neither a folder nor a model's name; {hint}")


def ways(can: Callable[[Source], bool]) -> str:
    """Return how to write a model of the sources that can do something, as a phrase for the end of a message."""
    return ", ".join(spec for name in sorted(SOURCES) if can(SOURCES[name]) for spec in SOURCES[name].specs)


def _recognise(folder: Path) -> tuple[Source, str]:
    """Return which source saved the folder, and the name that the source loads it by.

    A file that only one library writes decides. Only without any are the keys of those read that several write.
    """
    saving = [(source, source.saved) for source in SOURCES.values() if source.saved is not None]
    found = [(source, saved) for source, saved in saving if not saved.key and (folder / saved.file).is_file()]
    if not found:
        shared = {saved.file for _, saved in saving if saved.key and (folder / saved.file).is_file()}
        keys = {file: _keys(folder / file) for file in sorted(shared)}
        found = [
            (source, saved)
            for source, saved in saving
            if saved.key and saved.key in keys.get(saved.file, ()) and saved.without not in keys[saved.file]
        ]
        if not found:
            raise FinercamError(_unknown(folder, keys, saving))
    if len(found) > 1:
        choice = " or ".join(f"{source.name}/{saved.prefix}{folder}" for source, saved in found)
        raise FinercamError(f"folder {str(folder)!r} may be a model of several sources; write {choice}")
    ((source, saved),) = found
    return source, f"{saved.prefix}{folder}"


def _keys(path: Path) -> list[str]:
    """Return the keys of the JSON object in a file."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8")).keys())
    except (ValueError, AttributeError) as error:
        raise FinercamError(f"{str(path)!r} is not a model's configuration: {error}") from error


def _unknown(folder: Path, keys: Mapping[str, Sequence[str]], saving: Sequence[tuple[Source, Saved]]) -> str:
    """Return what to say of a folder that no source recognises."""
    saved_files = {saved.file for _, saved in saving}
    # A training run's folder has its models in folders of their own.
    inside = sorted({path.parent for file in saved_files for path in folder.glob(f"*/{file}")}, key=_age)
    if inside:
        there = ", ".join(repr(str(path)) for path in inside[:3])
        more = f" ({len(inside)} in all)" if len(inside) > 3 else ""
        return f"folder {str(folder)!r} is not a saved model, but there is one inside: {there}{more}"
    if not keys:
        files = ", ".join(sorted(saved_files))
        return f"folder {str(folder)!r} is not a saved model: it has none of the files {files}"
    file, its = next(iter(keys.items()))
    told = ", ".join(f"{saved.key!r} ({source.name})" for source, saved in saving if saved.file == file)
    return (
        f"{str(folder / file)!r} is not a model's configuration: it has none of the keys {told}; "
        f"its keys are {', '.join(its[:8]) or 'none'}"
    )


def _age(folder: Path) -> tuple[int, str]:
    """Return what sorts the latest checkpoint first: ``checkpoint-1000`` before ``checkpoint-500``."""
    number = folder.name.rpartition("-")[2]
    return -int(number) if number.isdecimal() else 0, folder.name


def find_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` takes an accelerator if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise FinercamError(f"device {device!r} cannot be used here: {first}") from error
    return found


@contextmanager
def plain_errors(spec: str | os.PathLike[str], source: Source) -> Iterator[None]:
    """Turn what a library raises while it loads a model into a ``FinercamError`` of one line.

    Nobody is asked anything meanwhile: a library that would run a folder's own code on a "y" reads no answer.
    """
    spec, asked = os.fspath(spec), sys.stdin
    sys.stdin = io.StringIO()
    try:
        yield
    except FinercamError:
        raise
    except ModuleNotFoundError as error:
        install = repr(source.install) if source.install else error.name
        raise FinercamError(f"{spec} needs {error.name}; pip install {install}") from error
    except Exception as error:
        # The libraries raise whatever their hub, file or config readers raise; the first line says it best.
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        offline = "; without a connection, give the folder of a downloaded model" if isinstance(error, OSError) else ""
        what = f"{type(error).__name__}: {first.rstrip('.') if offline else first}{offline}"
        raise FinercamError(f"{shortened(spec)} could not be loaded: {what}") from error
    finally:
        sys.stdin = asked
