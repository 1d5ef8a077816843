"""The photos of an evaluation that a page shows: chosen by the numbers, and explained anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from finercam.contrast.contrast import COMPARED, Contrast
from finercam.explanations.explanation import Explanation
from finercam.metrics.metric import Column
from finercam.report.anew import Measured, explained_anew
from finercam.report.charts import Curve, chart
from finercam.runs.rows import Rows
from finercam.studies.evaluate.contrasts import PLAIN_NAME, contrast_of
from finercam.studies.evaluate.maps import CONTROL
from finercam.studies.evaluate.tables import Block, Line

#: What photos are ranked by, the first that was measured.
_RANKED_BY = ("relative-drop", "average-precision", "localization", "deletion")
#: Curves in one drawing.
_MOST_CURVES = 5


@dataclass(frozen=True)
class Ranked:
    """A photo and its numbers.

    Attributes:
        key: in its data set.
        label: its class there.
        target, other: the model's classes c and d; d is -1 where there is none.
        correct: whether it is correctly classified; ``None`` where its class is not the model's.
        confidence, margin: the probability of class c, and by how much its logit leads class d's.
        value, base: what photos are ranked by, of the finer map and of the plain one; NaN where there is none.
        empty: whether the finer map is empty.
    """

    key: str
    label: int
    target: int
    other: int
    correct: bool | None
    confidence: float
    margin: float
    value: float
    base: float
    empty: bool


def main_line(block: Block) -> Line | None:
    """Return the line whose photos are shown: the first comparison, or the first map of the network."""
    asked = [line for line in block.lines if not line.control and contrast_of(line.contrast) is not None]
    return next((line for line in asked if line.contrast != PLAIN_NAME), next(iter(asked), None))


def ranked_by(block: Block) -> Column | None:
    """Return the column that photos are ranked by."""
    columns = [column for column in block.columns if column.better]
    first = [column for name in _RANKED_BY for column in columns if column.spec.partition("@")[0] == name]
    return next(iter([*first, *columns]), None)


def ranked(run: Rows, line: Line, column: Column) -> list[Ranked]:
    """Return a run's photos, the most convincing map first; those without a number are left out."""
    about = ["id", "key", "label", "target", "other", "correct", "confidence", "margin", "empty"]
    own = _rows(run, line.method, line.contrast, [*about, column.spec])
    base = {one["id"]: one[column.spec] for one in _rows(run, line.method, PLAIN_NAME, ["id", column.spec])}
    found = [
        Ranked(
            one["key"],
            one["label"],
            one["target"],
            -1 if one["other"] is None else one["other"],
            one["correct"],
            _number(one["confidence"]),
            _number(one["margin"]),
            _number(one[column.spec]),
            _number(base.get(one["id"])),
            one["empty"],
        )
        for one in own
        if one[column.spec] is not None
    ]
    sign = -1 if column.better == "higher" else 1
    # Of equals the one of which the model is surer.
    return sorted(found, key=lambda one: (sign * one.value, -one.margin if one.margin == one.margin else math.inf))


def _rows(run: Rows, method: str, contrast: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    return run.table(columns, (pc.field("method") == method) & (pc.field("contrast") == contrast)).to_pylist()


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def explained(run: Rows, line: Line, photos: Sequence[Ranked]) -> tuple[list[Explanation], list[str]]:
    """Return some photos of a run explained anew, with their evidence, and what stood in the way."""
    contrast = contrast_of(line.contrast)
    assert contrast is not None

    def asked(photo: Ranked) -> Contrast:
        return replace(contrast, against=[photo.other], references=1) if contrast.against == COMPARED else contrast

    return explained_anew(
        run, [Measured(one.key, one.target, one.confidence, line.method, asked(one)) for one in photos]
    )


def curves_of(run: Rows, block: Block, line: Line, photos: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return each photo's own deletion curves, as the live view shows them; ``None`` where none were kept.

    Args:
        run, block: the rows, and their table.
        line: the finer map; the plain one of its method stands beside it.
        photos: their keys.
    """
    names = set(run.dataset.schema.names)
    spec = next((c.spec for c in block.columns if c.spec.startswith("deletion") and f"{c.spec} curve" in names), None)
    if spec is None:
        return [None] * len(photos)
    both = {"target": f"{spec} curve", "second": f"{spec} curve of other"}
    found: dict[str, dict[str, Any]] = {}
    for title, contrast in (("plain", PLAIN_NAME), (line.title, line.contrast)):
        for row in _rows(run, line.method, contrast, ["key", "other", *both.values()]):
            own = {name: row[column] for name, column in both.items()}
            if row["key"] not in photos or row["other"] is None or not all(_known(values) for values in own.values()):
                continue
            steps = np.linspace(0, 1, len(own["target"])).tolist()
            of = found.setdefault(row["key"], {"fraction": steps, "lines": [], "second_class": row["other"]})
            of["lines"].append({"answer": title, **own})
    return [found.get(key) for key in photos]


def _known(values: Sequence[float] | None) -> bool:
    return bool(values) and all(isinstance(one, float) and math.isfinite(one) for one in values or ())


def deletion_curves(run: Rows, block: Block) -> Iterator[str]:
    """Yield, for each metric that keeps curves and each method, charts of both classes' mean probabilities."""
    names = set(run.dataset.schema.names)
    metrics = [column for column in block.columns if f"{column.spec} curve" in names]
    controls = [line for line in block.lines if line.contrast == CONTROL and line.method == "random"]
    for column in metrics:
        for method, lines in _by_method(block).items():
            for suffix, of in (("curve", "class c"), ("curve of other", "class d")):
                curves = [
                    Curve(line.title, np.linspace(0, 1, len(mean)).tolist(), mean, control=line.control)
                    for line in [*lines[: _MOST_CURVES + 1], *controls]
                    if (mean := _mean_curve(run, line, f"{column.spec} {suffix}"))
                ]
                if curves:
                    title = f"{method}, {column.title}: probability of {of}"
                    yield chart(title, curves, "share of the pixels changed", from_zero=True)


def _by_method(block: Block) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in block.lines:
        if not line.control:
            found.setdefault(line.called, []).append(line)
    return found


def _mean_curve(run: Rows, line: Line, column: str) -> list[float]:
    """Return the mean over photos of a list of numbers; empty where no photo has one."""
    where = (pc.field("method") == line.method) & (pc.field("contrast") == line.contrast)
    rows = run.table([column], where)[column].combine_chunks().drop_null()
    if not len(rows):
        return []
    # A run's curves have as many steps each.
    values = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    known = values[~np.isnan(values).any(1)]
    return [float(one) for one in known.mean(0)] if len(known) else []
