"""``explain_files()``: photos in; pictures, maps and one line of JSON each out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from finercam.data.original import Original
from finercam.data.photos import find_photos
from finercam.data.placement import Placer
from finercam.errors import FinercamError, nearest
from finercam.explanations.explaining import Asked, explain_batch, preprocess
from finercam.explanations.explanation import Explanation
from finercam.explanations.spreadsheet import spreadsheet_of
from finercam.explanations.writers import WRITERS
from finercam.files import whole
from finercam.models.classifier import Classifier
from finercam.models.run import Run

#: Saves an explanation beside a path without suffix, and returns what the record says of it: ``files`` at least.
Save = Callable[[Explanation, Path], dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """What became of one photo.

    Attributes:
        file: the photo.
        records: one per thing asked, as written to the records file; none where it failed.
        explanations: what they are records of.
        error: why the photo could not be explained, or ``None``.
    """

    file: Path
    records: tuple[dict[str, Any], ...] = ()
    explanations: tuple[Explanation, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class _Job:
    """A photo, the path (without suffix) its results go to, and its input."""

    file: Path
    result: Path
    image: Tensor
    original: Original


def explain_files(
    classifier: Classifier,
    photos: Sequence[str | Path],
    out: str | Path,
    asked: Sequence[Asked] | dict[str, Asked],
    *,
    run: Run | None = None,
    keep: bool = False,
    records: str = "explanations.jsonl",
    save: Save | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[Saved]:
    """Explain photos, write the results, and yield what became of each photo as it is done.

    A photo that cannot be read or explained does not stop the rest. Beside each photo's path below ``out`` stand its
    picture (``.png``) and maps (``.safetensors``); ``out/explanations.jsonl`` has a line for each explanation, and
    ``out/explanations.csv`` the same as a table.

    Args:
        classifier: the model.
        photos: files, folders (searched through) and patterns.
        out: folder.
        asked: what is asked of every photo, and how. A mapping names the answers: results are then in a folder per
            photo, by these names.
        run: as for ``explain``.
        keep: keep the evidence in the maps, so that they can be asked again.
        records: name of the file of records.
        save: how an explanation is written; its figure and its maps if left out.
        extra: what else every record says.

    Raises:
        FinercamError: there are no photos, or ``out`` is not a folder.
    """
    found, out, run = list(find_photos(map(str, photos))), Path(out), run or Run()
    if out.exists() and not out.is_dir():
        raise FinercamError(f"{str(out)!r} is a file; give a folder for the results")
    names = list(asked) if isinstance(asked, dict) else [""] * len(asked)
    what = list(asked.values()) if isinstance(asked, dict) else list(asked)
    put = save or save_whole
    with spreadsheet_of(out / records), _records_file(out / records) as lines:
        failed: list[Saved] = []
        for batch in _batches(_open(classifier, found, out, failed), run.images):
            yield from _taken(failed)
            for job, outcome in _explained(classifier, batch, what, run, keep):
                if isinstance(outcome, FinercamError):
                    yield Saved(job.file, error=str(outcome))
                    continue
                written = []
                for name, explanation in zip(names, outcome, strict=True):
                    record = _relative(put(explanation, job.result / name if name else job.result), out)
                    written.append({**explanation.record(), **(extra or {}), **record})
                    lines.write(json.dumps(written[-1], ensure_ascii=False) + "\n")
                yield Saved(job.file, tuple(written), tuple(outcome))
        yield from _taken(failed)


def save_whole(
    explanation: Explanation, result: Path, formats: Sequence[str] = ("png",), **options: Any
) -> dict[str, Any]:
    """Write an explanation's figure and maps beside a path without suffix.

    Args:
        explanation: what is written.
        result: the path.
        formats: of the figure, without dots; the first is the record's ``picture``.
        options: of the figure, as for ``Explanation.save``.
    """
    # Not with_suffix: a photo's name may have dots in it.
    pictures = {form: explanation.save(result.with_name(f"{result.name}.{form}"), **options) for form in formats}
    maps = explanation.save(result.with_name(result.name + ".safetensors"))
    first, *more = pictures
    files = {"picture": pictures[first], **{form: pictures[form] for form in more}, "maps": maps}
    return {"files": {name: str(path) for name, path in files.items()}}


def picture_formats(given: Sequence[str]) -> tuple[str, ...]:
    """Return formats of pictures, without dots.

    Raises:
        FinercamError: there is no such format.
    """
    known = sorted(suffix.removeprefix(".") for suffix in WRITERS if suffix != ".safetensors")
    found = tuple(dict.fromkeys(one.lower().removeprefix(".") for one in given))
    for one in found:
        if one not in known:
            raise FinercamError(f"there is no picture format {one!r}; {nearest(one, known)}")
    return found or ("png",)


def _relative(record: dict[str, Any], out: Path) -> dict[str, Any]:
    files = {name: str(Path(path).relative_to(out)) for name, path in record["files"].items()}
    return {**record, "files": files}


def _taken(failed: list[Saved]) -> list[Saved]:
    taken = failed.copy()
    failed.clear()
    return taken


def _open(classifier: Classifier, found: Sequence[tuple[Path, Path]], out: Path, failed: list[Saved]) -> Iterator[_Job]:
    """Yield the photos found, preprocessed; those that cannot be read are added to ``failed``."""
    taken: set[Path] = set()
    placer = Placer(classifier.preprocessing)
    for file, relative in found:
        # Two photos may differ in folder or suffix only; neither may overwrite the other's results.
        stem = relative.with_suffix("")
        result = next(name for name in _names(out / stem, file.suffix.lstrip(".")) if name not in taken)
        taken.add(result)
        try:
            yield _Job(file, result, preprocess(classifier, file), Original(file, placer))
        except FinercamError as error:
            failed.append(Saved(file, error=str(error)))


def _names(stem: Path, suffix: str) -> Iterator[Path]:
    yield stem
    yield stem.with_name(f"{stem.name}-{suffix}")
    number = 2
    while True:
        yield stem.with_name(f"{stem.name}-{suffix}-{number}")
        number += 1


def _batches(jobs: Iterator[_Job], size: int) -> Iterator[list[_Job]]:
    """Yield runs of at most ``size`` photos whose inputs have one shape."""
    batch: list[_Job] = []
    for job in jobs:
        if batch and (len(batch) == size or job.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _explained(
    classifier: Classifier, batch: Sequence[_Job], asked: Sequence[Asked], run: Run, keep: bool
) -> Iterator[tuple[_Job, list[Explanation] | FinercamError]]:
    """Yield each job's explanations, or what stands in the way of that one."""
    try:
        explanations = explain_batch(
            classifier,
            torch.stack([job.image for job in batch]),
            asked,
            sources=[str(job.file) for job in batch],
            originals=[job.original for job in batch],
            collect=[] if keep else None,
            run=run,
        )
    except FinercamError as error:
        if len(batch) == 1:
            yield batch[0], error
        else:
            for job in batch:
                yield from _explained(classifier, [job], asked, run, keep)
    else:
        yield from zip(batch, explanations, strict=True)


@contextmanager
def _records_file(path: Path) -> Iterator[IO[str]]:
    """Give a file for the records that takes its place at the end, also when the run is stopped on the way."""
    with whole(path) as aside, aside.open("w", encoding="utf-8") as file:
        try:
            yield file
        except (KeyboardInterrupt, GeneratorExit):
            file.flush()
            if aside.stat().st_size:
                aside.replace(path)
            raise
