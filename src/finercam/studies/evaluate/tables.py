"""From rows to lines: means with intervals over images, and each finer row's paired difference to its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.method import find_method
from finercam.metrics.intervals import Mean, mean_of
from finercam.metrics.metric import Column, Metric, find_metric
from finercam.runs.rows import Rows
from finercam.studies.evaluate.batches import CONTROL
from finercam.studies.evaluate.contrasts import PLAIN_NAME
from finercam.studies.evaluate.given import GIVEN, PREFIX, GivenMaps
from finercam.studies.evaluate.maps import CUBED


@dataclass(frozen=True)
class Line:
    """A method with a contrast, or a control.

    Attributes:
        method: its name.
        contrast: ``plain``, ``finer ...``, ``control`` or the cubed base.
        images: explained.
        empty: share of empty maps.
        means: by column.
        differences: by column, paired with the same method's plain rows; none for those themselves and controls.
    """

    method: str
    contrast: str
    images: int
    empty: float
    means: dict[str, Mean]
    differences: dict[str, Mean]

    @property
    def control(self) -> bool:
        """Whether the line is there to be beaten, not to win."""
        return self.contrast in (CONTROL, CUBED)

    @property
    def title(self) -> str:
        """The line's heading: ``Grad-CAM``, ``+ Finer, gamma=1``, ``Grad-CAM, cubed``; given maps by their folder."""
        if self.contrast.startswith("finer"):
            options = self.contrast.split()[1:]
            return ", ".join(["+ Finer", *options])
        method = self.method.capitalize() if self.contrast == CONTROL else method_title(self.method)
        return f"{method}, cubed" if self.contrast == CUBED else method


@dataclass(frozen=True)
class Block:
    """The table of one run.

    Attributes:
        model, data: their names.
        photos: in the manifest.
        measured: of these, so far.
        failed: keys and errors of those that failed.
        accuracy: share of photos that are correctly classified, of those whose class the model has.
        columns, lines: of the table.
    """

    model: str
    data: str
    photos: int
    measured: int
    failed: tuple[tuple[str, str], ...]
    accuracy: Mean
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def method_title(spec: str) -> str:
    """Return how tables call a method or a folder of maps; a method that is not installed here goes by its spec."""
    if spec.startswith(PREFIX):
        return GivenMaps(spec).title
    try:
        return find_method(spec).full_title
    except FinercamError:
        return spec


def read_block(out: str, *, only_correct: bool = False) -> Block:
    """Return the table of the run in a folder, complete or not.

    Args:
        out: the run's folder.
        only_correct: count only photos that the model classifies correctly.

    Raises:
        FinercamError: the folder holds no evaluation, or no rows.
    """
    return block_of(Rows(out), only_correct=only_correct)


def block_of(run: Rows, *, only_correct: bool = False) -> Block:
    """Return the table of a run's rows; as ``read_block``."""
    if run.described["study"] != "evaluate":
        raise FinercamError(f"{run.out!r} holds no evaluation but a run of {run.described['study']!r}")
    # First, for each part knows whether it was made by what the description says.
    rows = run.dataset
    plan = run.described["plan"]
    metrics = [find_metric(spec, steps=plan["steps"]) for spec in plan["metrics"]]
    maps = _maps_in(rows)
    # Each photo once: its row of the first map, or its only row, which has none.
    once = _is(*maps[0]) | pc.field("method").is_null() if maps else pc.scalar(True)
    photos = rows.to_table(columns=["correct"], filter=once)
    chosen = pc.field("correct") if only_correct else pc.scalar(True)
    columns = tuple(column for metric in metrics for column in metric.columns)
    lines = []
    bases: dict[str, _Values] = {}
    for method, contrast in maps:
        values = _read(rows, method, contrast, metrics, chosen)
        if contrast == PLAIN_NAME:
            bases[method] = values
        base = None if contrast in (PLAIN_NAME, CUBED, CONTROL, GIVEN) else bases.get(method)
        lines.append(_line(method, contrast, values, base, columns))
    return Block(
        run.described["model"]["name"],
        run.described["data"]["name"],
        run.photos,
        len(photos),
        run.failed,
        mean_of(_numbers(photos["correct"])),
        columns,
        tuple(lines),
    )


def _is(method: str, contrast: str) -> Any:
    return (pc.field("method") == method) & (pc.field("contrast") == contrast)


def _maps_in(rows: pd.Dataset) -> list[tuple[str, str]]:
    """Return the methods and contrasts of the rows, in the order of a photo's rows, controls last."""
    for batch in rows.to_batches(columns=["id", "method", "contrast"], filter=pc.field("method").is_valid()):
        if len(batch):
            first = batch.filter(pc.equal(batch["id"], batch["id"][0]))
            return list(zip(first["method"].to_pylist(), first["contrast"].to_pylist(), strict=True))
    return []


@dataclass(frozen=True)
class _Values:
    """One map's columns, in the order of the images' ids."""

    ids: NDArray[Any]
    empty: float
    numbers: dict[str, Float[Tensor, " n"]]


def _read(rows: pd.Dataset, method: str, contrast: str, metrics: Sequence[Metric], chosen: Any) -> _Values:
    summaries = [summary for metric in metrics for summary in metric.summaries]
    plain = [column.spec for metric in metrics for column in metric.numbers]
    read = dict.fromkeys([*plain, *(name for summary in summaries for name in summary.reads)])
    table = rows.to_table(columns=["id", "label", "empty", *read], filter=_is(method, contrast) & chosen).sort_by("id")
    numbers = {name: _numbers(table[name]) for name in plain}
    if summaries:
        labels = table["label"].to_pylist()
        for summary in summaries:
            columns = {name: table[name].to_pylist() for name in summary.reads}
            numbers[summary.column.spec] = summary.compute(columns, labels)
    empty = pc.mean(pc.cast(table["empty"], pa.float64())).as_py()
    return _Values(table["id"].to_numpy(), empty or 0.0, numbers)


def _numbers(column: Any) -> Float[Tensor, " n"]:
    return torch.tensor(column.cast(pa.float64()).fill_null(float("nan")).to_numpy())


def _line(method: str, contrast: str, values: _Values, base: _Values | None, columns: Sequence[Column]) -> Line:
    differences = {}
    if base is not None:
        # The same images: a run's rows hold every map of an image or none.
        if not np.array_equal(values.ids, base.ids):
            raise FinercamError(f"rows of {method} {contrast} and its base are of different photos")
        differences = {c.spec: mean_of(values.numbers[c.spec] - base.numbers[c.spec]) for c in columns}
    means = {c.spec: mean_of(values.numbers[c.spec]) for c in columns}
    return Line(method, contrast, len(values.ids), values.empty, means, differences)
