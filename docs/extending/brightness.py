"""A study: what is measured of each photo of a data set, and what the rows come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from finercam import Classifier
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Measurer, Opened, Prepared, Row, Study


@dataclass(frozen=True)
class Brightness(Study[Classifier, Prepared]):
    """The mean of each photo's input, and what the model sees in it."""

    name = "brightness"

    def settings(self) -> dict[str, Any]:
        """Return what decides the numbers: nothing can be set here."""
        return {}

    def schema(self) -> pa.Schema:
        """Return the columns of a row."""
        return pa.schema([("brightness", pa.float64()), ("seen", pa.string())])

    def prepare(self, opened: Opened) -> Prepared:
        """Return what is measured of a photo; this runs where photos are opened, without the model."""
        return Prepared(opened.entry, opened.image)

    def start(self, bench: Bench[Classifier]) -> Measurer[Prepared]:
        """Return what measures a batch: for each photo a list of rows, here of one."""

        def measure(batch: Sequence[Prepared]) -> list[list[Row]]:
            images = torch.stack([torch.from_numpy(item.image) for item in batch])
            with bench.model.look(images, bench.run) as look:
                seen = look.logits.argmax(1).tolist()
            return [
                [{"brightness": float(image.mean()), "seen": bench.model.class_name(index)}]
                for image, index in zip(images, seen, strict=True)
            ]

        return measure

    def summary(self, rows: Rows) -> dict[str, str]:
        """Return what the model saw in each photo."""
        table = rows.table()
        return dict(zip(table["key"].to_pylist(), table["seen"].to_pylist(), strict=True))
