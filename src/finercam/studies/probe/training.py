"""Training a probe from a data set and a backbone to a folder that ``finercam.load`` takes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError
from finercam.models.backbone import Backbone
from finercam.models.run import Run
from finercam.models.sources.probe import HEAD, RECORD, read_record, write_probe
from finercam.models.undisturbed import device_of
from finercam.runs.engine import Progress
from finercam.runs.job import Engine
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.studies.probe.features import extract, listing
from finercam.studies.probe.fitting import Epoch, Fitted, Recipe, fit

EPOCHS = "epochs.csv"
#: Photos per run of the backbone.
BATCH = 32
#: The share of a data set without a split that is kept back to measure on, as in the authors' script.
HELD_OUT = 0.2


@dataclass(frozen=True)
class Told:
    """Where to say how far it is.

    Attributes:
        features: called with the split's name and how far its features have come.
        epoch: called after every epoch.
    """

    features: Callable[[str, Progress], None] = lambda split, come: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


def train_probe(
    backbone: Backbone,
    train: Dataset,
    test: Dataset,
    out: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    run: Run | None = None,
    engine: Engine | None = None,
    replace_other: bool = False,
    tell: Told | None = None,
) -> dict[str, Any]:
    """Train a linear head on the backbone's features, write the probe to ``out`` and return its record.

    Where ``out`` holds this very probe already, it is returned as it is; where it was begun, it is resumed.
    Classes without a photo in either split are left out.

    Args:
        backbone: frozen.
        train, test: two splits of one data set; see ``splits``.
        out: folder.
        recipe: how the head is fitted; the paper's if left out.
        run, engine: of the features; see ``finercam.studies.probe.features.extract``.
        replace_other: train this probe where ``out`` holds another.
        tell: told how far it is.

    Raises:
        FinercamError: a class has too few photos, a split is empty, or ``out`` holds another probe.
    """
    recipe, tell, out = recipe or Recipe(), tell or Told(), Path(out)
    run = Run(images=BATCH) if run is None else run
    items = {"train": list(train.items()), "test": list(test.items())}
    classes = _classes(train, test, items)
    names = [train.class_names[label] for label in classes]
    settings = _settings(backbone, names, items, recipe, run)
    RunFolder(Folder(os.fspath(out))).claim(settings, replace=replace_other)
    if (out / RECORD).is_file() and (out / HEAD).is_file():
        record = read_record(out)
        if record.get("fingerprint") == fingerprint(settings):
            return record
    # What is there from now on is not the old probe.
    (out / RECORD).unlink(missing_ok=True)
    features = {
        split: extract(
            backbone, dataset, out / "features", run=run, engine=engine, advance=partial(tell.features, split)
        )
        for split, dataset in (("train", train), ("test", test))
    }
    row = {label: number for number, label in enumerate(classes)}
    labels = {split: torch.tensor([row[item.label] for item in some]) for split, some in items.items()}
    with _epochs_file(out / EPOCHS) as log:

        def report(epoch: Epoch) -> None:
            log(epoch)
            tell.epoch(epoch)

        fitted = fit(
            features["train"],
            labels["train"],
            features["test"],
            labels["test"],
            len(names),
            recipe,
            device=device_of(backbone.module),
            report=report,
        )
    write_probe(
        out,
        backbone,
        fitted.weight,
        fitted.bias,
        names,
        dataset=train.name,
        classes_left_out=len(train.class_names) - len(names),
        photos={split: len(some) for split, some in items.items()},
        **_accuracies(fitted),
        training={key: value for key, value in settings.items() if key not in backbone.record()},
        fingerprint=fingerprint(settings),
    )
    return read_record(out)


def splits(train: Dataset, test: Dataset, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return the two splits, listed once; photos that are in both, as in a data set without a split, are divided.

    A fifth of each class's photos is then kept back, drawn by a hash of the key and the seed: photos added later
    change nothing for the others but where the fifth ends. Items of one photo (as it is and with a planted mark) stay
    on one side.

    Raises:
        FinercamError: some photos, but not all, are in both splits.
    """
    to_train, to_test = tuple(train.items()), tuple(test.items())
    in_test = {item.key for item in to_test}
    both = [item for item in to_train if item.key in in_test]
    if both:
        if not len(both) == len(to_train) == len(to_test):
            raise FinercamError(
                f"{len(both)} photos of {train.name} are in its training and in its test split, such as "
                f"{both[0].key!r}; an accuracy on them would mean nothing"
            )
        kept = _kept_back(both, seed)
        to_train = tuple(item for item in to_train if item.key not in kept)
        to_test = tuple(item for item in to_test if item.key in kept)
    return replace(train, items=lambda: iter(to_train)), replace(test, items=lambda: iter(to_test))


def _kept_back(items: Sequence[Item], seed: int) -> set[str]:
    """Return the keys of a fifth of each class's photos, at least one where there are several."""
    by_class: dict[int, list[Item]] = {}
    photo: dict[str, str] = {}
    for item in items:
        by_class.setdefault(item.label, []).append(item)
        # A drawn item may have no place of its own.
        photo.setdefault(item.uri or item.key, item.key)

    def lot(item: Item) -> bytes:
        key = photo[item.uri or item.key]
        return hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogateescape")).digest()

    kept: set[str] = set()
    for some in by_class.values():
        some.sort(key=lot)
        kept |= {item.key for item in some[: max(1, round(HELD_OUT * len(some)))] if len(some) > 1}
    return kept


def fingerprint(settings: dict[str, Any]) -> str:
    """Return a hash of all that a probe depends on."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _classes(train: Dataset, test: Dataset, items: dict[str, list[Item]]) -> list[int]:
    """Return the labels of the classes that have photos, in order, having seen that they can be trained on."""
    if train.class_names != test.class_names:
        raise FinercamError(f"the splits of {train.name} have different classes")
    for split, some in items.items():
        if not some:
            raise FinercamError(f"the {split} split of {train.name} is empty; a probe needs photos in both splits")
    counts = Counter(item.label for item in items["train"])
    present = sorted({item.label for some in items.values() for item in some})
    few = [train.class_names[label] for label in present if counts[label] < 2]
    if few:
        named = ", ".join(repr(name) for name in few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        raise FinercamError(
            f"{len(few)} of {len(present)} classes of {train.name} have fewer than two photos to train on: {named}; "
            "add photos, take the class out, or raise --images"
        )
    if len(present) < 2:
        raise FinercamError(f"all photos of {train.name} are of one class, {train.class_names[present[0]]!r}")
    return present


def _settings(
    backbone: Backbone,
    names: Sequence[str],
    items: dict[str, list[Item]],
    recipe: Recipe,
    run: Run,
) -> dict[str, Any]:
    """Return all that the probe depends on, by the names an error calls it."""
    # Where the weights lie does not matter.
    record = {key: value for key, value in backbone.record().items() if key not in ("backbone", "revision")}
    lists = {f"{split} photos": f"{len(some)}, {listing(some)[:12]}" for split, some in items.items()}
    classes = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    features = {"precision": run.precision, "batch_size": run.images}
    return {**record, **lists, "classes": f"{len(names)}, {classes}", **features, **asdict(recipe)}


def refuse_full(out: Path) -> None:
    """Raise if there is anything at ``out`` but an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FinercamError(f"--out {str(out)!r} exists and holds something else; give a new folder")


@contextmanager
def _epochs_file(path: Path) -> Iterator[Callable[[Epoch], None]]:
    """Give a function that adds a line to the table of epochs, to be read while it grows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Epoch)])

        def log(epoch: Epoch) -> None:
            table.writerow(asdict(epoch).values())
            file.flush()

        yield log


def _accuracies(fitted: Fitted) -> dict[str, Any]:
    best = max(fitted.epochs, key=lambda epoch: epoch.accuracy)
    return {
        "accuracy": fitted.chosen.accuracy,
        "train_accuracy": fitted.chosen.train_accuracy,
        "epoch": fitted.chosen.number,
        "best": {"accuracy": best.accuracy, "epoch": best.number},
    }
