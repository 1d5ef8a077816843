"""``run_study()``: any study over a data set, in parts; a run that was stopped can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from finercam.data.dataset import Dataset, Item
from finercam.data.reading import draw
from finercam.errors import FinercamError
from finercam.models.run import Run
from finercam.runs import manifest as manifests
from finercam.runs.contents import Contents, refuse_changed
from finercam.runs.fingerprint import code_of, describe
from finercam.runs.job import Engine, Job
from finercam.runs.loaded import Loaded
from finercam.runs.local import Local
from finercam.runs.manifest import Manifest
from finercam.runs.measuring import schema
from finercam.runs.rows import Rows
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.runs.study import Model, Ready, Study


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        photos: in the manifest.
        done: measured, in this run or before.
        failed: of those measured in this run.
    """

    photos: int
    done: int
    failed: int


@dataclass(frozen=True)
class Finished:
    """A run that is complete.

    Attributes:
        rows: what was measured.
        photos: in the manifest.
        resumed: whether it was begun before.
        measured: photos measured this time.
        seconds: where this process's time went, by activity.
    """

    rows: Rows
    photos: int
    resumed: bool
    measured: int
    seconds: dict[str, float] = field(default_factory=dict)


def run_study(
    study: Study[Model, Ready],
    model: Loaded[Model],
    dataset: Dataset,
    out: str,
    targets: Sequence[int] | None = None,
    *,
    run: Run | None = None,
    engine: Engine | None = None,
    retry_failed: bool = False,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> Finished:
    """Measure what a study asks of a model over a data set.

    The same call goes on where an earlier one was stopped, and does nothing where that was complete. Its folder is
    described in ``finercam.runs.run_folder``.

    Args:
        study: what is measured.
        model: see ``finercam.runs.loaded``.
        dataset: its items are the manifest, but those that the study does not take. A sample is drawn again among
            those that it does, so that it is of as many as were to be drawn.
        out: a folder, or a URI that fsspec writes to.
        targets: by label of the data set, the model's class, or -1; left out where the study asks for no classes.
        run: how the model is run. Only its precision decides numbers, and may not differ from one time to the next.
        engine: ``Local()`` if left out, or ``finercam.runs.on_ray.OnRay()``.
        retry_failed: do the parts again in which an item failed.
        advance: called at the start, and after every part.

    Raises:
        FinercamError: the data has no photo, or not what the study needs; the folder holds another run; rows cannot
            be written.
    """
    run = Run() if run is None else run
    classes = () if targets is None else tuple(int(target) for target in targets)
    if model.preprocessing.transform is None:
        raise FinercamError("this classifier has no preprocessing for photos; give Classifier.of(..., preprocess=)")
    schema(study)
    study.check(model.model, dataset if dataset.sample is None else dataset.sample.whole)
    dataset = _taken(study, dataset, classes)
    code = code_of(study, model, dataset.open)
    folder = RunFolder(Folder(out))
    manifest, resumed = _set_up(study, model, dataset, folder, classes, run, code, retry_failed)
    done_before = folder.done()
    pending = tuple(part for part in range(manifest.parts) if part not in done_before)
    job = Job(study, model, classes, run, dataset.open, dataset.repaint, out, pending, code)
    total = len(manifest)
    before = total - sum(map(manifest.size, pending))
    done, failed = before, 0
    advance(Progress(total, done, failed))
    if pending:
        for part in (engine or Local()).do(job):
            done, failed = done + part.photos, failed + part.failed
            advance(Progress(total, done, failed))
    folder.check(manifest, study.row_key)
    return Finished(Rows(out), total, resumed, total - before, dict(job.clock.seconds))


def _taken(study: Study[Any, Any], dataset: Dataset, targets: tuple[int, ...]) -> Dataset:
    """Return the data set without the items that the study does not take; a sample with others in their place."""

    def takes(item: Item) -> bool:
        return study.takes(item, targets[item.label] if targets else -1)

    if dataset.sample is not None:
        sample = dataset.sample
        return draw(sample.whole, sample.images, sample.seed, takes)
    return replace(dataset, items=lambda: filter(takes, dataset.items()))


def _set_up(
    study: Study[Model, Ready],
    model: Loaded[Model],
    dataset: Dataset,
    folder: RunFolder,
    targets: tuple[int, ...],
    run: Run,
    code: str,
    retry_failed: bool,
) -> tuple[Manifest, bool]:
    """Claim the folder for this run, list its photos, and return the list and whether the run was begun before."""

    items = dataset.items
    known = (folder.fingerprint or {}).get("photos per part")
    part_size = known if isinstance(known, int) and known > 0 else 0
    if not part_size:
        part_size = manifests.part_size_for(sum(1 for _ in items()), study.part_size)
    listed = manifests.digest(items(), targets, part_size)
    if not listed.items:
        raise FinercamError(f"{dataset.name} has no photo to be measured")
    resumed = folder.claim(describe(study, model, dataset, listed, targets, run, code, part_size))
    contents = Contents.of(items())
    new = not folder.has_manifest
    if new:
        manifests.write(folder.folder, items(), targets, part_size, contents.tell)
    manifest = Manifest(folder.folder)
    if manifest.summary() != listed:
        raise FinercamError(
            f"{folder.folder.uri}/{manifests.NAME} does not list the run's photos as they were when it was begun "
            f"({len(manifest)} there, {listed.items} in the run): it was edited or is damaged; remove it and run the "
            "same command again"
        )
    if retry_failed:
        folder.drop_failed()
    if not new and refuse_changed(folder, manifest, contents):
        manifests.write(folder.folder, items(), targets, part_size, contents.tell)
        manifest = Manifest(folder.folder)
    return manifest, resumed
