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
from finercam.methods.method import METHODS
from finercam.metrics.consistency import consistency
from finercam.metrics.intervals import Mean, bootstrap_mean
from finercam.runs.run_folder import ROWS, RunFolder, part_name
from finercam.runs.storage import Folder
from finercam.studies.evaluate.maps import CONTROL, CUBED
from finercam.studies.evaluate.measures import Measure, find_measure
from finercam.studies.evaluate.plan import PLAIN_NAME


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        spec: the measure's.
        title: its heading.
        better: ``higher``, ``lower`` or ``""``.
    """

    spec: str
    title: str
    better: str

    @property
    def heading(self) -> str:
        """The title with an arrow that says where better is."""
        return self.title + {"higher": " ↑", "lower": " ↓", "": ""}[self.better]


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
        """The line's heading: ``Grad-CAM``, ``+ Finer, gamma=1``, ``Grad-CAM, cubed``."""
        method = METHODS[self.method].title if self.method in METHODS else self.method.capitalize()
        if self.contrast == CUBED:
            return f"{method}, cubed"
        if self.contrast in (PLAIN_NAME, CONTROL):
            return method
        options = self.contrast.split()[1:]
        return ", ".join(["+ Finer", *options])


@dataclass(frozen=True)
class Block:
    """The table of one run.

    Attributes:
        model, data: their names.
        photos: in the manifest.
        measured: of these, so far.
        failed: keys and errors of those that failed.
        accuracy: share of photos named rightly, of those whose class the model has.
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


def read_block(out: str, *, only_correct: bool = False) -> Block:
    """Return the table of the run in a folder, complete or not.

    Args:
        out: the run's folder.
        only_correct: count only photos that the model names rightly.

    Raises:
        FinercamError: the folder holds no run, or no rows.
    """
    run = RunFolder(Folder(out))
    described = run.fingerprint
    if described is None or "plan" not in described:
        raise FinercamError(f"{out!r} holds no evaluation; give the --out folder of one")
    paths = [run.folder.path(f"{ROWS}/{part_name(part)}") for part in sorted(run.done())]
    if not paths:
        raise FinercamError(f"{out!r} holds no rows yet")
    rows = pd.dataset(paths, filesystem=run.folder.filesystem)
    measures = [find_measure(spec, described["plan"]["steps"]) for spec in described["plan"]["metrics"]]
    maps = _maps_in(rows)
    # Each photo once: its row of the first map, or its only row, which has none.
    once = _is(*maps[0]) | pc.field("method").is_null() if maps else pc.scalar(True)
    photos = rows.to_table(columns=["key", "correct", "error"], filter=once)
    failed = photos.filter(pc.is_valid(photos["error"]))
    chosen = pc.field("correct") if only_correct else pc.scalar(True)
    columns = _columns(measures)
    lines = []
    bases: dict[str, _Values] = {}
    for method, contrast in maps:
        values = _read(rows, method, contrast, measures, chosen)
        if contrast == PLAIN_NAME:
            bases[method] = values
        base = None if contrast in (PLAIN_NAME, CUBED, CONTROL) else bases.get(method)
        lines.append(_line(method, contrast, values, base, columns))
    return Block(
        described["model"]["name"],
        described["data"]["name"],
        described["data"]["photos"],
        len(photos),
        tuple(zip(failed["key"].to_pylist(), failed["error"].to_pylist(), strict=True)),
        bootstrap_mean(_numbers(photos["correct"])),
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


def _read(rows: pd.Dataset, method: str, contrast: str, measures: Sequence[Measure], chosen: Any) -> _Values:
    shares = [name for measure in measures if measure.needs == "parts" for name in measure.curves]
    table = rows.to_table(
        columns=["id", "label", "empty", *(measure.spec for measure in measures), *shares],
        filter=_is(method, contrast) & chosen,
    ).sort_by("id")
    numbers = {measure.spec: _numbers(table[measure.spec]) for measure in measures}
    for measure in measures:
        if measure.needs == "parts":
            numbers[_consistency_spec(measure)] = _consistency(table, measure.curves[0])
    empty = pc.mean(pc.cast(table["empty"], pa.float64())).as_py()
    return _Values(table["id"].to_numpy(), empty or 0.0, numbers)


def _numbers(column: Any) -> Float[Tensor, " n"]:
    return torch.tensor(column.cast(pa.float64()).fill_null(float("nan")).to_numpy())


def _consistency(table: pa.Table, column: str) -> Float[Tensor, " n"]:
    lists = table[column].to_pylist()
    width = max((len(row) for row in lists if row), default=0)
    blank = [float("nan")] * width
    shares = torch.tensor([[v if v is not None else float("nan") for v in row] if row else blank for row in lists])
    return consistency(shares, torch.tensor(table["label"].to_pylist())).gain.double()


def _consistency_spec(measure: Measure) -> str:
    return measure.spec.replace("parts", "consistency", 1)


def _columns(measures: Sequence[Measure]) -> tuple[Column, ...]:
    columns = []
    for measure in measures:
        columns.append(Column(measure.spec, measure.title, measure.better))
        if measure.needs == "parts":
            columns.append(Column(_consistency_spec(measure), "Consistency", "higher"))
    return tuple(columns)


def _line(method: str, contrast: str, values: _Values, base: _Values | None, columns: Sequence[Column]) -> Line:
    differences = {}
    if base is not None:
        # The same images: a run's rows hold every map of an image or none.
        if not np.array_equal(values.ids, base.ids):
            raise FinercamError(f"rows of {method} {contrast} and its base are of different photos")
        differences = {c.spec: bootstrap_mean(values.numbers[c.spec] - base.numbers[c.spec]) for c in columns}
    means = {c.spec: bootstrap_mean(values.numbers[c.spec]) for c in columns}
    return Line(method, contrast, len(values.ids), values.empty, means, differences)
