"""``explain_files()``: photos in; pictures, maps and one line of JSON each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finercam.data.finding import Found, find_photos
from finercam.data.original import Original
from finercam.data.photos import Crop
from finercam.data.placement import Placer
from finercam.errors import FinercamError, nearest
from finercam.explanations.answering import Collect
from finercam.explanations.explaining import Asked, explain_batch, preprocess
from finercam.explanations.explanation import Explanation
from finercam.explanations.fields import failure
from finercam.explanations.records import Records, answer_path
from finercam.explanations.spreadsheet import write_csv
from finercam.explanations.writers import WRITERS, options_of
from finercam.files import NotWritten, writable_folder
from finercam.models.classifier import Classifier
from finercam.models.run import Run

#: Saves an explanation beside a path without suffix, and returns what the record says of it: ``files`` at least.
Save = Callable[[Explanation, Path], dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """What became of one photo.

    Attributes:
        file: the photo, or the animal on one.
        records: one per thing asked, as written to the records file; where it failed one, which says why.
        explanations: what they are records of; none where it failed.
        error: why the photo could not be explained, or ``None``.
    """

    file: Path | Crop
    records: tuple[dict[str, Any], ...] = ()
    explanations: tuple[Explanation, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class _Job:
    """A photo or an animal on one, the path (without suffix) its results go to, and its input, or why it has none."""

    file: Path | Crop
    result: Path
    image: Tensor | str
    original: Original

    @property
    def shape(self) -> tuple[int, ...] | None:
        return tuple(self.image.shape) if isinstance(self.image, Tensor) else None


def explain_files(
    classifier: Classifier,
    photos: Sequence[str | Path] | Found,
    out: str | Path,
    asked: Sequence[Asked] | dict[str, Asked],
    *,
    run: Run | None = None,
    keep: bool = False,
    collect: Collect | None = None,
    records: str = "explanations.jsonl",
    save: Save | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[Saved]:
    """Explain photos, write the results, and yield what became of each photo as it is done.

    A photo that cannot be read or explained does not stop the rest. Beside each photo's path below ``out`` stand its
    picture (``.png``) and maps (``.safetensors``); ``out/explanations.jsonl`` has a line for each explanation, and for
    each photo that failed. Lines are added as they are made; photos that were explained into ``out`` before keep
    theirs. ``out/explanations.csv`` is the same as a table, written at the end.

    Args:
        classifier: the model.
        photos: files, folders (searched through) and patterns, or what ``find_photos`` found at them; or the animals
            on these photos (``Boxes.crops``), each explained by itself.
        out: folder.
        asked: what is asked of every photo, and how. A mapping names the answers: results are then in a folder per
            photo, by these names.
        run: as for ``explain``.
        keep: keep the evidence in the maps, so that they can be asked again.
        collect: give the explanations that are yielded their evidence, with these classes besides those in question;
            it is in the maps only with ``keep``.
        records: name of the file of records.
        save: how an explanation is written; its figure and its maps if left out.
        extra: what else every record says.

    Raises:
        FinercamError: there are no photos, ``out`` is not a folder, or nothing (more) can be written there.
    """
    out, run = writable_folder(out), run or Run()
    found = photos if isinstance(photos, Found) else find_photos(map(str, photos), out)
    names = list(asked) if isinstance(asked, dict) else [""] * len(asked)
    what = list(asked.values()) if isinstance(asked, dict) else list(asked)
    put, kept = save or save_whole, Records(out / records)
    gathered = collect if collect is not None else [] if keep else None
    written = put if keep or collect is None else _without_evidence(put)
    try:
        for batch in _batches(_open(classifier, found, kept, names), run.images):
            for job, outcome in _explained(classifier, batch, what, run, gathered):
                saved = outcome if isinstance(outcome, str) else _saved(job, outcome, names, written, out, extra or {})
                if isinstance(saved, str):
                    saved = Saved(job.file, (failure(job.file, saved),), error=saved)
                kept.add(saved.records)
                yield saved
    finally:
        kept.close()
        write_csv(out / records)


def save_whole(
    explanation: Explanation, result: Path, formats: Sequence[str] = ("png",), **options: Any
) -> dict[str, Any]:
    """Write an explanation's figure and maps beside a path without suffix.

    Args:
        explanation: what is written.
        result: the path.
        formats: of the figure, without dots; the first is the record's ``picture``.
        options: of the figure, as for ``Explanation.save``; a format that is no figure, such as one of a user's own,
            gets those that it takes.
    """
    pictures = {}
    for form in formats:
        # Not with_suffix: a photo's name may have dots in it.
        path = result.with_name(f"{result.name}.{form}")
        known = options_of(path)
        own = {name: value for name, value in options.items() if name in known}
        pictures[form] = explanation.save(path, **own)
    maps = explanation.save(result.with_name(result.name + ".safetensors"))
    first, *more = pictures
    files = {"picture": pictures[first], **{form: pictures[form] for form in more}, "maps": maps}
    return {"files": {name: str(path) for name, path in files.items()}}


def picture_formats(given: Sequence[str]) -> tuple[str, ...]:
    """Return formats of pictures, without dots.

    Raises:
        FinercamError: there is no such format.
    """
    # The maps are written in any case.
    known = sorted(suffix.removeprefix(".") for suffix in WRITERS if suffix != ".safetensors")
    found = tuple(dict.fromkeys(one.lower().removeprefix(".") for one in given))
    for one in found:
        if one not in known:
            raise FinercamError(f"there is no picture format {one!r}; {nearest(one, known)}")
    return found or ("png",)


def _without_evidence(put: Save) -> Save:
    return lambda explanation, result: put(replace(explanation, evidence=None), result)


def _relative(record: dict[str, Any], out: Path) -> dict[str, Any]:
    files = {name: str(Path(path).relative_to(out)) for name, path in record["files"].items()}
    return {**record, "files": files}


def _saved(
    job: _Job, explanations: Sequence[Explanation], names: Sequence[str], put: Save, out: Path, extra: Mapping[str, Any]
) -> Saved | str:
    """Write a photo's answers, and return what became of it, or what stands in the way of this one.

    Raises:
        NotWritten: that stands in the way of all.
    """
    written = []
    try:
        for name, explanation in zip(names, explanations, strict=True):
            record = _relative(put(explanation, answer_path(job.result, name)), out)
            written.append({**explanation.record(), **extra, **record})
    except Exception as error:
        if isinstance(error, NotWritten) and not error.alone:
            raise
        return _said(error)
    return Saved(job.file, tuple(written), tuple(explanations))


def _open(
    classifier: Classifier, found: Iterable[tuple[Path | Crop, Path]], kept: Records, names: Sequence[str]
) -> Iterator[_Job]:
    """Yield the photos found, preprocessed or with what stood in the way."""
    placer = Placer(classifier.preprocessing)
    for file, relative in found:
        result, original = kept.result(file, relative, names), Original(file, placer)
        try:
            yield _Job(file, result, preprocess(classifier, file), original)
        except Exception as error:
            # Any preprocessing may be used, and what it makes of an odd photo must not end the others' run.
            yield _Job(file, result, _said(error), original)


def _said(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return str(error) if isinstance(error, FinercamError) else f"{type(error).__name__}: {first}"


def _batches(jobs: Iterator[_Job], size: int) -> Iterator[list[_Job]]:
    """Yield runs of at most ``size`` photos whose inputs have one shape; one that has no input comes by itself."""
    batch: list[_Job] = []
    for job in jobs:
        if batch and (len(batch) == size or job.shape is None or job.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _explained(
    classifier: Classifier, batch: Sequence[_Job], asked: Sequence[Asked], run: Run, collect: Collect | None
) -> Iterator[tuple[_Job, list[Explanation] | str]]:
    """Yield each job's explanations, or what stands in the way of that one."""
    images = [job.image for job in batch if isinstance(job.image, Tensor)]
    if not images:
        yield from ((job, str(job.image)) for job in batch)
        return
    try:
        explanations = explain_batch(
            classifier,
            torch.stack(images),
            asked,
            sources=[str(job.file.photo if isinstance(job.file, Crop) else job.file) for job in batch],
            originals=[job.original for job in batch],
            collect=collect,
            run=run,
        )
    except Exception as error:
        if len(batch) == 1:
            yield batch[0], _said(error)
        else:
            for job in batch:
                yield from _explained(classifier, [job], asked, run, collect)
    else:
        yield from zip(batch, explanations, strict=True)
