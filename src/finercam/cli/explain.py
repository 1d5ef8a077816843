"""``finercam explain``: photos in; pictures, maps and one line of JSON each out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from finercam.cli.console import progress, say
from finercam.cli.names import read_names
from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import Labels, find_class
from finercam.data.photos import find_photos
from finercam.errors import FinercamError
from finercam.explanations.explaining import explain_batch, photos_per_run, preprocess
from finercam.explanations.explanation import Explanation
from finercam.files import whole
from finercam.methods.method import Method, find_method
from finercam.models import Classifier, load
from finercam.models.passes import autocast


@dataclasses.dataclass(frozen=True)
class Job:
    """A photo, the path (without suffix) its results go to, and its input."""

    file: Path
    result: Path
    image: Tensor


def explain_photos(
    photos: Sequence[str],
    model: str,
    *,
    target: str,
    contrast: Contrast,
    method: str,
    layer: Sequence[str] | None,
    device: str,
    precision: str,
    batch_size: int | None,
    revision: str | None,
    out: Path,
    as_json: bool,
    classes: Path | None = None,
) -> int:
    """Explain every photo found and return how many failed.

    All that can be known to be wrong is found before the model is loaded and before anything is written.
    """
    how = find_method(method)
    autocast(torch.device("cpu"), precision)
    together = photos_per_run(batch_size)
    found = list(find_photos(photos))
    if out.exists() and not out.is_dir():
        raise FinercamError(f"--out {str(out)!r} is a file; give a folder")
    names = None if classes is None else read_names(classes)
    classifier = load(model, layer=layer, device=device, revision=revision, classes=names)
    contrast = _with_named_classes(contrast, classifier)
    if target != "predicted":
        find_class(target, classifier.classes, classifier.labels)

    failures: list[tuple[Path, str]] = []
    written = 0
    with records_file(out / "explanations.jsonl") as records, progress() as bar:
        task = bar.add_task("explaining", total=len(found))

        def fail(file: Path, error: Exception) -> None:
            failures.append((file, str(error)))
            say(f"{file}: {error}", style="red", to=bar.console)
            bar.advance(task)

        jobs = open_photos(classifier, found, out, fail)
        for batch in batches(jobs, together):
            for job, outcome in _explain(classifier, batch, contrast, target, how, precision, batch_size):
                if isinstance(outcome, FinercamError):
                    fail(job.file, outcome)
                    continue
                record = _save(outcome, job, out)
                line = json.dumps(record, ensure_ascii=False)
                records.write(line + "\n")
                written += 1
                bar.advance(task)
                print(line if as_json else _summary(outcome, job), flush=True)
    say(f"{written} explained, {len(failures)} failed; see {out}")
    return len(failures)


def _with_named_classes(contrast: Contrast, classifier: Classifier) -> Contrast:
    """Return the contrast with the classes of ``--against A,B`` looked up: the whole text, or its parts."""
    if isinstance(contrast.against, str):
        return contrast
    (text,) = contrast.against
    assert isinstance(text, str)
    names = [part.strip() for part in text.split(",") if part.strip()]
    if len(names) > 1 and isinstance(classifier.labels, Labels) and text in classifier.labels.names:
        names = [text]
    classes = [find_class(name, classifier.classes, classifier.labels) for name in names]
    return dataclasses.replace(contrast, against=classes)


def open_photos(
    classifier: Classifier, found: Sequence[tuple[Path, Path]], out: Path, fail: Callable[[Path, Exception], None]
) -> Iterator[Job]:
    """Yield the photos found, preprocessed; those that cannot be read are given to ``fail``."""
    taken: set[Path] = set()
    for file, relative in found:
        # Two photos may differ in folder or suffix only; neither may overwrite the other's results.
        stem = relative.with_suffix("")
        for result in _names(out / stem, file.suffix.lstrip(".")):
            if result not in taken:
                taken.add(result)
                break
        try:
            yield Job(file, result, preprocess(classifier, file))
        except FinercamError as error:
            fail(file, error)


def _names(stem: Path, suffix: str) -> Iterator[Path]:
    yield stem
    yield stem.with_name(f"{stem.name}-{suffix}")
    number = 2
    while True:
        yield stem.with_name(f"{stem.name}-{suffix}-{number}")
        number += 1


def batches(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    """Yield runs of at most ``size`` photos whose inputs have one shape."""
    batch: list[Job] = []
    for job in jobs:
        if batch and (len(batch) == size or job.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _explain(
    classifier: Classifier,
    batch: Sequence[Job],
    contrast: Contrast,
    target: str,
    how: Method,
    precision: str,
    batch_size: int | None,
) -> Iterator[tuple[Job, Explanation | FinercamError]]:
    """Yield each job's explanation, or what stands in the way of that one."""
    try:
        explanations = explain_batch(
            classifier,
            torch.stack([job.image for job in batch]),
            contrast,
            target,
            sources=[str(job.file) for job in batch],
            how=how,
            collect=None,
            precision=precision,
            batch_size=batch_size,
        )
    except FinercamError as error:
        if len(batch) == 1:
            yield batch[0], error
        else:
            for job in batch:
                yield from _explain(classifier, [job], contrast, target, how, precision, batch_size)
    else:
        yield from zip(batch, explanations, strict=True)


def _save(explanation: Explanation, job: Job, out: Path) -> dict[str, Any]:
    # Not with_suffix: a photo's name may have dots in it.
    picture = explanation.save(job.result.with_name(job.result.name + ".png"))
    maps = explanation.save(job.result.with_name(job.result.name + ".safetensors"))
    files = {"picture": str(picture.relative_to(out)), "maps": str(maps.relative_to(out))}
    return {**explanation.record(), "files": files}


def _summary(explanation: Explanation, job: Job) -> str:
    probability = float(explanation.probabilities[explanation.target])
    empty = " - EMPTY MAP" if explanation.empty else ""
    return f"{job.file}: {100 * probability:.1f} % {explanation}{empty}"


@contextmanager
def records_file(path: Path) -> Iterator[IO[str]]:
    """Give a file for the records that takes its place at the end, also when the run is stopped on the way."""
    with whole(path) as aside, aside.open("w", encoding="utf-8") as file:
        try:
            yield file
        except KeyboardInterrupt:
            file.flush()
            if aside.stat().st_size:
                aside.replace(path)
            raise
