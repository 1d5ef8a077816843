"""The aviary as a folder, annotated in the manner of CUB-200-2011, so that a reader of that reads this."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image as Images

from finercam.aviary.dataset import Aviary
from finercam.aviary.samples import Sample
from finercam.aviary.species import ATTRIBUTES, PARTS, SPECIES, Species
from finercam.data.part_masks import NAMES, middle
from finercam.errors import FinercamError

_README = """Birds drawn by finercam.aviary, annotated in the manner of CUB-200-2011.

images/              NNN.Species_Name/Species_Name_0001_train.png
segmentations/       the same names: palette PNGs, 0 where no bird is seen, else the part's number in parts/parts.txt
images.txt           <image_id> <path below images/>
classes.txt          <class_id> <NNN.Species_Name>
image_class_labels.txt  <image_id> <class_id>
train_test_split.txt <image_id> <1 for training, 0 for testing>
bounding_boxes.txt   <image_id> <x> <y> <width> <height>, pixels; of what is seen of the bird
parts/parts.txt      <part_id> <name>
parts/part_locs.txt  <image_id> <part_id> <x> <y> <visible>; the centre of a pixel of the part, 0.0 0.0 0 if not seen
attributes/attributes.txt  <attribute_id> <has_attribute::value>
attributes/class_attribute_labels_continuous.txt  a line for each class, a column for each attribute: 0.0 or 100.0
captions.txt         <image_id> <sentence>
"""


def export(
    out: str | os.PathLike[str],
    n: int,
    seed: int = 0,
    split: str | None = None,
    biased: bool = False,
    size: int = 128,
) -> Path:
    """Write ``n`` samples as a folder data set.

    The folder appears when it is complete: everything is written beside it first, then renamed.

    Args:
        out: the folder to make; must not exist.
        n: how many samples.
        seed: from 0 upwards.
        split: write this split; its images count as training images if it is "train", else as test images. By
            default four fifths are written from "train" and the rest from "test".
        biased: let the background go with the species.
        size: side of the pictures in pixels.

    Returns:
        The folder.

    Raises:
        FinercamError: ``out`` exists, its parent does not, or an argument is out of range.
    """
    target = Path(out).absolute()
    if target.exists() or target.is_symlink():
        raise FinercamError(f"{target} exists already; give a new folder, or remove it first")
    if not target.parent.is_dir():
        raise FinercamError(f"{target.parent} is not a folder; create it first, or give another one")
    tests = n // 5
    shares = [("train", n - tests), ("test", tests)] if split is None else [(split, n)]
    aviaries = [Aviary(name, count, seed, biased, size) for name, count in shares]
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        _write(partial, aviaries)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def folder_name(label: int) -> str:
    """Return a species' folder: "001.Frost-barred_Finch" for label 0."""
    return f"{label + 1:03d}.{_plain(SPECIES[label])}"


def _plain(species: Species) -> str:
    return species.name.replace(" ", "_")


def _write(root: Path, aviaries: list[Aviary]) -> None:
    for label in range(len(SPECIES)):
        for kind in ("images", "segmentations"):
            (root / kind / folder_name(label)).mkdir(parents=True)
    names: list[str] = []
    labels, training, boxes, places, captions = [], [], [], [], []
    for aviary in aviaries:
        for index, sample in enumerate(aviary):
            number = len(names) + 1
            folder = folder_name(sample.label)
            name = f"{folder}/{folder[4:]}_{index + 1:04d}_{aviary.split}.png"
            Images.fromarray(sample.image).save(root / "images" / name)
            _segmentation(sample).save(root / "segmentations" / name)
            x0, y0, x1, y1 = sample.box
            names.append(f"{number} {name}")
            labels.append(f"{number} {sample.label + 1}")
            training.append(f"{number} {int(aviary.split == 'train')}")
            boxes.append(f"{number} {x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}")
            places += [f"{number} {place}" for place in _places(sample)]
            captions.append(f"{number} {sample.caption}")
    pairs = [(key, value) for key, values in ATTRIBUTES.items() for value in values]
    _lines(root / "images.txt", names)
    _lines(root / "classes.txt", (f"{label + 1} {folder_name(label)}" for label in range(len(SPECIES))))
    _lines(root / "image_class_labels.txt", labels)
    _lines(root / "train_test_split.txt", training)
    _lines(root / "bounding_boxes.txt", boxes)
    _lines(root / "parts" / "parts.txt", (f"{k} {part}" for k, part in enumerate(PARTS, 1)))
    _lines(root / "parts" / "part_locs.txt", places)
    _lines(root / "segmentations" / NAMES, [json.dumps(dict(enumerate(PARTS, 1)))])
    _lines(root / "attributes" / "attributes.txt", (f"{k} has_{a}::{v}" for k, (a, v) in enumerate(pairs, 1)))
    _lines(
        root / "attributes" / "class_attribute_labels_continuous.txt",
        (" ".join("100.0" if s.attributes[a] == v else "0.0" for a, v in pairs) for s in SPECIES),
    )
    _lines(root / "captions.txt", captions)
    (root / "README").write_text(_README, encoding="utf-8")


def _lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _segmentation(sample: Sample) -> Images.Image:
    numbers = np.zeros(sample.image.shape[:2], np.uint8)
    for number, part in enumerate(PARTS, 1):
        if part in sample.masks:
            numbers[sample.masks[part]] = number
    picture = Images.fromarray(numbers, mode="P")
    colours = [0, 0, 0]
    for k in range(len(PARTS)):
        # Any colours that are easy to tell apart: steps around the wheel that do not repeat.
        colours += [(97 * k + 60) % 256, (157 * k + 120) % 256, (211 * k + 200) % 256]
    picture.putpalette(colours)
    return picture


def _places(sample: Sample) -> Iterable[str]:
    for number, part in enumerate(PARTS, 1):
        if part in sample.masks:
            x, y = middle(sample.masks[part])
            yield f"{number} {x + 0.5:.1f} {y + 0.5:.1f} 1"
        else:
            yield f"{number} 0.0 0.0 0"
