"""The features of a data set's photos, computed once and kept in the folder of a run.

A run's folder is named by all that decides its features, down to the rounding, so that those of different backbones,
photos or batches lie side by side and what still applies is used again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError
from finercam.models.backbone import Backbone
from finercam.models.outputs import read_logits
from finercam.models.passes import forward_pass
from finercam.models.run import Run
from finercam.models.undisturbed import undisturbed
from finercam.runs import manifest as manifests
from finercam.runs.contents import Contents
from finercam.runs.engine import Progress, run_study
from finercam.runs.fingerprint import code_of, describe
from finercam.runs.job import Engine
from finercam.runs.loaded import Loaded, loaded_backbone, of_text
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Measurer, Opened, Prepared, Row, Study
from finercam.texts import said_of


@dataclass(frozen=True)
class Features(Study[Backbone, Prepared]):
    """A frozen backbone's features of photos, in float32.

    Args:
        width: how many features there are, K.
        batch: photos per run of the backbone; batches of another size round otherwise.
        photos: a hash of their contents: what has changed since is not the same photo.
    """

    width: int
    batch: int
    photos: str

    name: ClassVar[str] = "features"
    part_size: ClassVar[int] = 512

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        return {"batch size": self.batch, "contents of photos": self.photos}

    def schema(self) -> pa.Schema:
        """Return the one column of K numbers."""
        return pa.schema([("features", pa.list_(pa.float32(), self.width))])

    def prepare(self, opened: Opened) -> Prepared:
        """Return the photo's input."""
        return Prepared(opened.entry, opened.image)

    def start(self, bench: Bench[Backbone]) -> Measurer[Prepared]:
        """Return what computes the features of a batch."""
        return partial(_features, bench)

    def summary(self, rows: Rows) -> Float[Tensor, "n K"]:
        """Return the features of all photos, in their order, on the CPU.

        Raises:
            FinercamError: photos failed, or their features are not finite.
        """
        if rows.failed:
            key, error = rows.failed[0]
            raise FinercamError(
                f"{len(rows.failed)} of {rows.photos} photos have no features; {said_of(key, error)}; what was "
                "computed is kept, and the same command tries these again"
            )
        chunks = rows.table(["features"])["features"].chunks
        found = np.concatenate([chunk.flatten().to_numpy() for chunk in chunks]).reshape(-1, self.width)
        return torch.from_numpy(found)


def extract(
    backbone: Backbone,
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    run: Run | None = None,
    engine: Engine | None = None,
    advance: Callable[[Progress], None] = lambda come: None,
) -> Float[Tensor, "n K"]:
    """Return the features of all photos, in their order, in float32 on the CPU.

    Args:
        backbone: frozen.
        dataset: the photos; their labels are not looked at.
        folder: where they are kept.
        run: precision, and photos per pass of the backbone.
        engine: as for ``finercam.runs.engine.run_study``.
        advance: called at the start, and after every part.

    Raises:
        FinercamError: a photo cannot be read, or its features are not finite.
    """
    run = Run() if run is None else run
    study = Features(backbone.features, run.images, Contents.of(dataset.items()).digest(dataset.items()))
    model = loaded_backbone(backbone)
    out = Path(folder) / _run_name(study, model, dataset, run)
    found = run_study(study, model, dataset, str(out), run=run, engine=engine, retry_failed=True, advance=advance)
    return study.summary(found.rows)


def listing(items: Sequence[Item]) -> str:
    """Return a hash of which photos these are, in which order: their keys, labels, boxes and contents.

    Boxes, for pictures that are drawn have keys that count them, whatever the seed they are drawn from.
    """
    lines = "".join(f"{item.key}\t{item.label}\t{item.box}\n" for item in items)
    lines += Contents.of(items).digest(items)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _features(bench: Bench[Backbone], batch: Sequence[Prepared]) -> list[list[Row]]:
    images = torch.stack([torch.from_numpy(one.image) for one in batch])
    with bench.clock("model"), undisturbed(bench.model.module):
        output = forward_pass(bench.model.module, images, bench.run.precision)
    features = read_logits(output).float().cpu()
    if not bool(features.isfinite().all()):
        precision = bench.run.precision
        hint = "the backbone may be broken" if precision == "float32" else f"{precision} may be too coarse; try float32"
        raise FinercamError(f"its features are not finite (NaN or infinite); {hint}")
    return [[{"features": row}] for row in features.numpy()]


def _run_name(study: Features, model: Loaded[Backbone], dataset: Dataset, run: Run) -> str:
    listed = manifests.digest(dataset.items(), (), study.part_size)
    code = code_of(study, model, dataset.open)
    told = describe(study, model, dataset, listed, (), run, code, study.part_size)
    return of_text(json.dumps(told, sort_keys=True))[:16]
