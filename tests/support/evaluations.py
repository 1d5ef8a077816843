"""A tiny net and tiny photos to be measured, with boxes, masks, parts and differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from finercam.data.dataset import Dataset, Example, Item, open_files
from finercam.models import Classifier
from finercam.models.run import Run
from finercam.runs.engine import Finished, run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.studies.evaluate.evaluation import Evaluation
from support.models import SIZE, DeepNet, build

#: Classes of the data set, and where each is among the net's seven; the last has no class there.
NAMES = ("ant", "bee", "cow", "unicorn")
TARGETS = (4, 0, 6, -1)
#: Photos are twice the net's input.
HEIGHT, WIDTH = 2 * SIZE[0], 2 * SIZE[1]


def preprocess(photo: Image.Image) -> torch.Tensor:
    """Means of 2 x 2 pixels, -5 to 5."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).double() / 25.5 - 5
    return torch.nn.functional.avg_pool2d(pixels, 2)


def classifier() -> Classifier:
    """Logits in float64, and images in one memory order, so that no rounding decides the order of pixels."""
    names = ("bee", "x", "y", "z", "ant", "w", "cow")
    found = Classifier.of(
        build(DeepNet),
        DeepNet.layer,
        preprocess=preprocess,
        class_names=names,
        image_size=SIZE,
        name="tiny",
        mean=(0.5,) * 3,
        std=(0.1,) * 3,
    )
    return replace(found, channels_last=1)


def evaluate(
    model: Classifier,
    data: Dataset,
    study: Evaluation,
    out: str | Path,
    targets: Sequence[int] = TARGETS,
    *,
    run: Run | None = None,
    workers: int = 0,
    **options: Any,
) -> Finished:
    """Run an evaluation in this process."""
    return run_study(
        study, loaded_classifier(model), data, str(out), targets, run=run, engine=Local(workers), **options
    )


def photos(folder: Path, count: int = 6, *, broken: tuple[int, ...] = ()) -> Dataset:
    """Write photos of the first three classes and return them as a data set; some cannot be read."""
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = (rng.integers(0, 256, (4, 5, 3)) * 0.5 + rng.integers(0, 128, 3)).astype(np.uint8)
        path = folder / f"{index}.png"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[4 : 12 + 2 * (index % 3), 6:20] = 255
        Image.fromarray(mask).save(folder / f"{index}.mask.png")
        if index in broken:
            path.write_bytes(b"no picture")
    return Dataset("photos", NAMES, partial(items, folder, count), open_with_differences, ("head", "tail"), REGIONS)


REGIONS = ("box", "mask", "parts", "difference")


def items(folder: Path, count: int) -> Iterator[Item]:
    for index in range(count):
        # The second has neither box nor parts, the third no mask and one part that is not seen.
        box = None if index == 1 else (4.0, 2.0, 22.0 + 2 * (index % 3), 16.0)
        mask = None if index == 2 else str(folder / f"{index}.mask.png")
        parts = () if index == 1 else ((8.0, 6.0), None if index == 2 else (19.5, 13.0))
        yield Item(f"{index}.png", str(folder / f"{index}.png"), index % 3, box, mask, parts)


def difference(label: int) -> np.ndarray:
    """Where a class differs from the others."""
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[2 + 2 * label : 10 + 2 * label, 10:18] = True
    return found


def open_with_differences(item: Item) -> Example:
    return replace(open_files(item), differences={label: difference(label) for label in (0, 1) if label != item.label})


def rows_of(out: str | Path) -> list[dict]:
    """Return all rows of a run on disk, in order."""
    files = sorted((Path(out) / "rows").glob("part-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def same(first: list[dict], second: list[dict], tolerance: float = 0.0) -> None:
    """Assert that rows are equal, numbers to within a tolerance."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            a, b = ([] if v is None else v if isinstance(v, list) else [v] for v in (value, other[name]))
            assert len(a) == len(b), (one["key"], name)
            for x, y in zip(a, b, strict=True):
                near = isinstance(x, float) and isinstance(y, float) and abs(x - y) <= tolerance
                assert x == y or near, (one["key"], one["method"], one["contrast"], name, x, y)
