"""From rows to lines: means with intervals over images, and each finer row's paired difference to its base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from finercam.studies.evaluate.contrasts import PLAIN_NAME
from finercam.studies.evaluate.given import GIVEN, PREFIX, GivenMaps
from finercam.studies.evaluate.maps import CONTROL, is_control


@dataclass(frozen=True)
class Line:
    """A method with a contrast, or a control.

    Attributes:
        method: its name.
        contrast: ``plain``, ``finer ...``, or what kind of control it is.
        images: explained.
        empty: share of empty maps.
        means: by column.
        differences: by column, paired with the same method's plain rows; none for those themselves and controls.
        beyond: columns in which the difference is a gain, and larger than that of each of the method's own controls:
            the interval of the paired difference to the base, and to every such control, leaves out 0.
        called: what tables call the method: its title, and its spec where another method has the same title.
        beside: of a control that is made of a method's base map or asks it another question: its own paired
            differences to that map, by column. What a gain must be beyond.
    """

    method: str
    contrast: str
    images: int
    empty: float
    means: dict[str, Mean]
    differences: dict[str, Mean]
    beyond: frozenset[str] = frozenset()
    called: str = ""
    beside: dict[str, Mean] = field(default_factory=dict)

    @property
    def control(self) -> bool:
        """Whether the line is there to be beaten, not to win."""
        return is_control(self.contrast)

    @property
    def title(self) -> str:
        """The line's heading: ``Grad-CAM``, ``+ Finer, gamma=1``, ``Grad-CAM, cubed``; given maps by their folder."""
        if self.contrast == CONTROL:
            return self.method.capitalize()
        asked, _, control = self.contrast.partition(", ")
        options = asked.split()[1:]
        head = "+ Finer" if asked.startswith("finer") else self.called
        return ", ".join([head, *options, *([control] if control else [])])


@dataclass(frozen=True)
class Block:
    """The table of one run.

    Attributes:
        model, data: their names.
        photos: in the manifest.
        measured: of these, so far.
        failed: keys and errors of those that failed.
        alike: how many photos the model does not tell from the class they would be compared with, and how many have
            none that is known; they are not explained. Both are 0 unless class d is a known one.
        repainted: by how much the margin of class c over d falls where what differs is painted as d's, and the share
            of photos of which the model changes sides then; ``None`` where no photo was repainted.
        accuracy: share of photos that are correctly classified, of those whose class the model has.
        columns, lines: of the table.
    """

    model: str
    data: str
    photos: int
    measured: int
    failed: tuple[tuple[str, str], ...]
    alike: tuple[int, int]
    repainted: tuple[Mean, Mean] | None
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


def _titles(methods: Sequence[str]) -> dict[str, str]:
    """Return what each method is called, no two the same."""
    titles = {method: method_title(method) for method in methods}
    often = Counter(titles.values())
    return {method: title if often[title] == 1 else f"{title} ({method})" for method, title in titles.items()}


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
    try:
        return _block_of(run, only_correct)
    except (AttributeError, KeyError, TypeError, IndexError, ValueError, pa.ArrowException) as error:
        if isinstance(error, FinercamError):
            raise
        # Somebody has edited what describes the run, or put rows of another one there.
        first = next(iter(str(error).splitlines()), "")
        raise FinercamError(
            f"{run.out!r} does not hold an evaluation as it was written ({type(error).__name__}: {first}); put back "
            "what was changed, or run the evaluation again in another folder"
        ) from error


def _block_of(run: Rows, only_correct: bool) -> Block:
    if run.described["study"] != "evaluate":
        raise FinercamError(f"{run.out!r} holds no evaluation but a run of {run.described['study']!r}")
    # First, for each part knows whether it was made by what the description says.
    rows = run.dataset
    plan = run.described["plan"]
    metrics = [find_metric(spec, steps=plan["steps"]) for spec in plan["metrics"]]
    maps = _maps_in(rows)
    # Each photo once: its row of the first map, or its only row, which has none.
    once = _is(*maps[0]) | pc.field("method").is_null() if maps else pc.scalar(True)
    photos = rows.to_table(columns=["correct", "error", "told apart", "margin", "margin repainted"], filter=once)
    chosen = pc.field("correct") if only_correct else pc.scalar(True)
    columns = tuple(column for metric in metrics for column in metric.columns)
    found = {(method, contrast): _read(rows, method, contrast, metrics, chosen) for method, contrast in maps}
    titles = _titles([method for method, _ in maps])
    lines = []
    for (method, contrast), values in found.items():
        base = found.get((method, PLAIN_NAME)) if contrast not in (PLAIN_NAME, GIVEN, CONTROL) else None
        own = [other for (how, asked), other in found.items() if how == method and is_control(asked)]
        lines.append(replace(_line(method, contrast, values, base, own, columns), called=titles[method]))
    # A finer map stands under its own base, before the controls made of both.
    order = {method: number for number, method in enumerate(titles)}
    lines.sort(key=lambda line: (line.contrast == CONTROL, order[line.method], line.control))
    return Block(
        run.described["model"]["name"],
        run.described["data"]["name"],
        run.photos,
        len(photos),
        run.failed,
        _alike(photos) if plan.get("other") == "known" else (0, 0),
        _repainted(photos),
        mean_of(_numbers(photos["correct"])),
        columns,
        tuple(lines),
    )


def _alike(photos: pa.Table) -> tuple[int, int]:
    """Return how many photos are not told from their class d, and how many have none."""
    measured = photos.filter(pc.is_null(photos["error"]))
    told = measured["told apart"].to_pylist()
    return told.count(False), told.count(None)


def _repainted(photos: pa.Table) -> tuple[Mean, Mean] | None:
    """Return the mean fall of the margin, and the share that changes sides, of photos that were told apart."""
    some = photos.filter(pc.and_(photos["told apart"], pc.is_valid(photos["margin repainted"])))
    if not len(some):
        return None
    before, after = _numbers(some["margin"]), _numbers(some["margin repainted"])
    return mean_of(before - after), mean_of((after < 0).double())


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


def _line(
    method: str,
    contrast: str,
    values: _Values,
    base: _Values | None,
    controls: Sequence[_Values],
    columns: Sequence[Column],
) -> Line:
    changes, beyond, control = {}, set(), is_control(contrast)
    if base is not None:
        # The same images: a run's rows hold every map of an image or none.
        if not all(np.array_equal(values.ids, other.ids) for other in (base, *controls)):
            raise FinercamError(f"rows of {method} {contrast}, its base and its controls are of different photos")

        def gain(column: Column, other: _Values) -> Mean:
            return mean_of(values.numbers[column.spec] - other.numbers[column.spec])

        changes = {column.spec: gain(column, base) for column in columns}
        for column in () if control else columns:
            # A control that has no number in the column (the map of another question has no answers) asks nothing.
            gains = [changes[column.spec], *(found for one in controls if (found := gain(column, one)).n)]
            if all(better(found, column) for found in gains):
                beyond.add(column.spec)
    means = {column.spec: mean_of(values.numbers[column.spec]) for column in columns}
    return Line(
        method,
        contrast,
        len(values.ids),
        values.empty,
        means,
        {} if control else changes,
        frozenset(beyond),
        beside=changes if control else {},
    )


def better(gain: Mean, column: Column) -> bool:
    """Return whether the whole interval of a difference lies on the better side of 0."""
    if not gain.n or not column.better:
        return False
    return gain.low > 0 if column.better == "higher" else gain.high < 0
