"""What must hold after every case."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image
from safetensors import safe_open

from fuzz.world import quietly

#: Seconds that no case needs.
LONGEST = 120


class Violation(Exception):
    """What must not be."""


class TooLong(BaseException):
    """A case did not end."""


@contextmanager
def in_time(seconds: int = LONGEST) -> Iterator[None]:
    """Raise ``TooLong`` in the block if it does not end."""

    def ring(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command(*arguments: object, codes: tuple[int, ...] = (0, 1, 2)) -> tuple[int, str]:
    """Run the command; see that it ended well or said in one line why not. Return its exit code and what it said."""
    shown = [str(argument)[:120] for argument in arguments]
    try:
        code, said = quietly(*arguments)
    except Exception as error:
        raise Violation(f"{shown}: {type(error).__name__}: {error}") from error
    if code not in codes:
        raise Violation(f"{shown}: exit code {code}: {said[-500:]}")
    if "Traceback" in said:
        raise Violation(f"{shown}: traceback: {said[-500:]}")
    if code == 2:
        errors = [line for line in said.split("\n") if line.startswith("finercam: ")]
        if len(errors) != 1 or not said.endswith(f"{errors[0]}\n") or not errors[0].removeprefix("finercam: ").strip():
            raise Violation(f"{shown}: not one line: {said[-500:]}")
    # Libraries' progress bars return to the beginning of their line.
    harmful = [c for c in said if ord(c) < 32 and c not in "\n\r"]
    if harmful:
        raise Violation(f"{shown}: control characters {harmful[:5]!r} in {said[-500:]!r}")
    return code, said


def state(folder: Path, *apart: Path) -> dict[str, tuple[int, int]]:
    """Return what lies in a folder, but in some folders."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) not in apart]
        for name in (*files, *folders):
            try:
                told = os.lstat(os.path.join(root, name))
            except OSError:
                continue
            found[os.path.join(root, name)] = (
                told.st_size if name in files else -1,
                told.st_mtime_ns if name in files else 0,
            )
    return found


@contextmanager
def nothing_else_written(folder: Path, out: Path) -> Iterator[None]:
    """See that a block writes below ``out`` alone."""
    before = state(folder, out)
    yield
    after = state(folder, out)
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    # The folder itself comes and goes.
    changed = [path for path in changed if Path(path) != out and Path(path) not in out.parents]
    if changed:
        raise Violation(f"written outside of --out: {changed[:5]}")


def all_whole(out: Path) -> None:
    """See that every file of results can be read to its end, and that none is unfinished."""
    if not out.is_dir():
        return
    for root, _, files in os.walk(out):
        for name in files:
            path = Path(root, name)
            if name.startswith("."):
                raise Violation(f"left behind: {path}")
            try:
                _read(path)
            except Exception as error:
                raise Violation(f"half-written: {path}: {type(error).__name__}: {error}") from error


def records_hold(out: Path, name: str = "explanations.jsonl") -> list[dict[str, object]]:
    """See that every record of results names files that are there, no two the same; return the records."""
    path = out / name
    records = [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
    files = [file for record in records for file in record.get("files", {}).values()]
    if len(set(files)) != len(files):
        raise Violation(f"two records of one file in {path}")
    for file in files:
        there = (out / file).resolve()
        if out.resolve() not in there.parents or not there.is_file():
            raise Violation(f"a record of {file!r}, which is not a file in {out}")
    return records


def _read(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".jsonl":
        content = path.read_bytes()
        assert not content or content.endswith(b"\n")
        for line in content.splitlines():
            json.loads(line)
    elif path.suffix == ".parquet":
        pq.read_table(path)
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            assert list(file.keys())
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not cell.startswith(("=", "@")), cell
    else:
        path.read_bytes().decode("utf-8")
