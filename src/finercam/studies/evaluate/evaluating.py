"""``evaluate()``: a model's explanations measured over a data set, in parts, to be gone on with after any stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import finercam
from finercam.data.dataset import Dataset
from finercam.errors import FinercamError
from finercam.models import Classifier
from finercam.runs import manifest as manifests
from finercam.runs.local import default_workers, prepared_parts
from finercam.runs.manifest import Manifest
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.studies.evaluate import fingerprint
from finercam.studies.evaluate.measures import OBJECT
from finercam.studies.evaluate.plan import Plan
from finercam.studies.evaluate.preparing import Preparer
from finercam.studies.evaluate.worker import Worker


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
class Run:
    """A run that is set up: its folder, and the parts that are yet to be done.

    Attributes:
        folder: its folder.
        manifest: its photos.
        pending: parts that are not there yet.
        resumed: whether it was begun before.
        prepare: opens photos.
        places: whether boxes, masks and parts are wanted.
        label_of_class: by the model's class, the data set's label.
    """

    folder: RunFolder
    manifest: Manifest
    pending: tuple[int, ...]
    resumed: bool
    prepare: Preparer
    places: bool
    label_of_class: dict[int, int]

    @property
    def done(self) -> int:
        """How many photos are in the parts that are there."""
        return len(self.manifest) - sum(map(self.manifest.size, self.pending))


@dataclass(frozen=True)
class Finished:
    """A run that is complete.

    Attributes:
        photos: in the manifest.
        resumed: whether it was begun before.
        measured: photos measured this time.
        seconds: where this process's time went, by activity.
    """

    photos: int
    resumed: bool
    measured: int
    seconds: dict[str, float] = field(default_factory=dict)


def set_up(
    classifier: Classifier,
    dataset: Dataset,
    plan: Plan,
    out: str,
    targets: Sequence[int],
    *,
    retry_failed: bool = False,
    with_controls: bool = True,
) -> Run:
    """Claim the folder for this run, or find what is left to do of it.

    Args:
        classifier: the model.
        dataset: its items are the manifest; those whose target is -1 are left out if labels are explained.
        plan: what is measured.
        out: a folder, or a URI that fsspec writes to.
        targets: by label of the data set, the model's class, or -1.
        retry_failed: do the parts again in which a photo failed.
        with_controls: see ``Worker``.

    Raises:
        FinercamError: the data has no photo, or not what a metric needs; the folder holds another run.
    """
    _check_needs(plan, dataset)
    folder = RunFolder(Folder(out))

    def items() -> Any:
        return (item for item in dataset.items() if plan.target != "label" or targets[item.label] >= 0)

    before = folder.fingerprint
    known = (before or {}).get("photos per part")
    part_size = known if isinstance(known, int) and known > 0 else 0
    if not part_size:
        part_size = manifests.part_size_for(sum(1 for _ in items()))
    listed = manifests.digest(items(), targets, part_size)
    if not listed.items:
        raise FinercamError(f"{dataset.name} has no photo to be measured")
    resumed = folder.claim({
        "finercam": finercam.__version__,
        "model": fingerprint.of_model(classifier),
        "data": {"name": dataset.name, "photos": listed.items, "manifest": listed.sha256},
        "classes": list(dataset.class_names),
        "plan": plan.deciding() | ({} if with_controls else {"controls": False}),
        "code": fingerprint.of_code(),
        "photos per part": part_size,
    })  # fmt: skip
    if not folder.has_manifest:
        manifests.write(folder.folder, items(), targets, part_size)
    manifest = Manifest(folder.folder)
    if len(manifest) != listed.items:
        raise FinercamError(
            f"{out}/{manifests.NAME} lists {len(manifest)} photos, not the run's {listed.items}; remove it and run "
            "the same command again"
        )
    if retry_failed:
        folder.drop_failed()
    done = folder.done()
    places = any(m.region or m.needs == "parts" for m in plan.measures)
    return Run(
        folder,
        manifest,
        tuple(part for part in range(manifest.parts) if part not in done),
        resumed,
        Preparer(dataset.open, classifier.preprocess, places),
        places,
        {target: label for label, target in enumerate(targets) if target >= 0},
    )


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    plan: Plan,
    out: str,
    targets: Sequence[int],
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    with_controls: bool = True,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> Finished:
    """Measure a model's explanations over a data set, on this machine.

    The same call goes on where an earlier one was stopped, and does nothing where that was complete. Rows are in
    ``out/rows``, for ``finercam.studies.evaluate.tables``.

    Args:
        classifier, dataset, plan, out, targets, retry_failed, with_controls: as for ``set_up``.
        workers: processes that open photos; 0 opens them in this one.
        advance: called after every part.

    Raises:
        FinercamError: as for ``set_up``; or rows cannot be written.
    """
    run = set_up(classifier, dataset, plan, out, targets, retry_failed=retry_failed, with_controls=with_controls)
    worker = Worker(classifier, plan, run.label_of_class, with_controls=with_controls)
    total, done, failed = len(run.manifest), run.done, 0
    advance(Progress(total, done, failed))
    processes = default_workers() if workers is None else workers
    for part, photos in prepared_parts(run.folder.folder, run.pending, run.prepare, processes):
        outcome = worker.measure(photos)
        run.folder.commit(part, outcome.rows)
        done, failed = done + outcome.photos, failed + outcome.failed
        advance(Progress(total, done, failed))
    run.folder.check(run.manifest)
    return Finished(total, run.resumed, total - run.done, worker.seconds)


def _check_needs(plan: Plan, dataset: Dataset) -> None:
    for measure in plan.measures:
        known = dataset.regions
        if measure.region == OBJECT:
            missing = "" if {"box", "mask"} & set(known) else "boxes or masks"
        else:
            missing = measure.region if measure.region and measure.region not in known else ""
        if measure.needs == "parts" and not {"parts", "box"} <= set(known):
            missing = "part points and boxes"
        if missing:
            raise FinercamError(f"metric {measure.spec!r} needs {missing}, which {dataset.name} does not have")
