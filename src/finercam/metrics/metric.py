"""What is measured of a map: the record of a metric, and the registry of metrics.

A metric of your own is one function of a view, which holds one map of each image of a batch and what the map can be
held against. It returns a number per image, NaN where it is undefined. Its keyword-only arguments are its parameters,
set as in ``far@0.5`` or ``far@quantile=0.5``; what it needs may depend on them::

    @finercam.metric("far", title="Far", better="lower", needs=finercam.Needs(regions=("box",)))
    def far(view, *, quantile: float = 0.9):
        high = view.saliency >= view.saliency.flatten(1).quantile(quantile, 1)[:, None, None]
        return (high & ~view.region("box")).flatten(1).double().mean(1)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.metrics.view import NOTHING, Needs, View
from finercam.registry import Registry, read_parameters, split_spec

Better: TypeAlias = Literal["higher", "lower", ""]
#: What a metric returns: numbers b, or numbers and lists (b n) by the columns it declares.
Found: TypeAlias = Tensor | Mapping[str, Tensor]
Function = TypeVar("Function", bound=Callable[..., Found])


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        spec: its name in rows and files.
        title: its heading.
        better: ``higher``, ``lower`` or ``""`` where neither is.
    """

    spec: str
    title: str
    better: Better

    @property
    def heading(self) -> str:
        """The title with an arrow that says where better is."""
        return self.title + {"higher": " ↑", "lower": " ↓", "": ""}[self.better]


@dataclass(frozen=True)
class Summary:
    """A column that is computed from all photos' rows together, as agreement between photos is.

    Attributes:
        name: takes the metric's place in the column's name: ``consistency`` of ``parts@0.1`` is ``consistency@0.1``.
        title, better: as for a metric.
        reads: which of the metric's lists; ``""`` is its number.
        function: given those (n each, or n k for a list, NaN where undefined) and the photos' labels, returns n
            numbers.
    """

    name: str
    title: str
    better: Better
    reads: tuple[str, ...]
    function: Callable[..., Float[Tensor, " n"]]


@dataclass(frozen=True)
class Summarised:
    """A summary of a metric whose parameters are set.

    Attributes:
        column: what it makes.
        reads: columns of the rows.
    """

    column: Column
    reads: tuple[str, ...]
    function: Callable[..., Float[Tensor, " n"]]

    def compute(self, rows: Mapping[str, Sequence[Any]], labels: Sequence[int]) -> Float[Tensor, " n"]:
        """Return a number for each photo.

        Args:
            rows: by column, what ``Metric.compute`` gave for each photo.
            labels: each photo's class in the data set.
        """
        return self.function(*(_stacked(rows[name]) for name in self.reads), torch.tensor(list(labels))).double()


@dataclass(frozen=True)
class Metric:
    """A metric with its parameters.

    Attributes:
        name: as in the registry.
        spec: as it was asked for; the name of its column.
        title: heading in tables.
        better: ``higher``, ``lower`` or ``""`` where neither is.
        parameters: names and values, in order.
        needs: what it reads of a view.
        numbers: columns of a number each.
        lists: columns of a list of numbers each.
        summaries: further columns of tables, computed from all photos' rows together.
        function: see ``metric``.
    """

    name: str
    spec: str
    title: str
    better: Better
    parameters: tuple[tuple[str, Any], ...]
    needs: Needs
    numbers: tuple[Column, ...]
    lists: tuple[str, ...]
    summaries: tuple[Summarised, ...]
    function: Callable[..., Found]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What a table shows of it."""
        return (*self.numbers, *(summary.column for summary in self.summaries))

    def compute(self, view: View) -> dict[str, list[Any]]:
        """Return, by column, a number or a list of numbers for each image; None where one is undefined.

        All are undefined where the map's kind has no answer to another question that the metric needs.

        Raises:
            FinercamError: the view has not what the metric needs, or its function returned something else than it
                declares.
        """
        names = (*(column.spec for column in self.numbers), *self.lists)
        if any(other.name not in view.maps for other in self.needs.maps):
            return {name: [None] * len(view.saliency) for name in names}
        found = self.function(view, **dict(self.parameters))
        by_key = found if isinstance(found, Mapping) else {"": found}
        values = {_column(self.spec, key): value for key, value in by_key.items()}
        if set(values) != set(names):
            raise FinercamError(f"metric {self.spec!r} returned {_named(values)}; it declares {_named(names)}")
        for name, value in values.items():
            wanted = 2 if name in self.lists else 1
            if value.ndim != wanted or len(value) != len(view.saliency):
                raise FinercamError(
                    f"metric {self.spec!r} returned {name!r} in the shape {tuple(value.shape)}; expected "
                    f"{'a list' if wanted == 2 else 'one number'} for each of {len(view.saliency)} images"
                )
        return {name: _listed(values[name]) for name in names}


@dataclass(frozen=True)
class Definition:
    """A metric before its parameters are set: what is registered. The attributes are the arguments of ``metric``."""

    name: str
    title: str | Callable[..., str]
    better: Better
    needs: Needs | Callable[..., Needs]
    numbers: tuple[str, ...]
    lists: tuple[str, ...]
    summaries: tuple[Summary, ...]
    function: Callable[..., Found]

    def with_parameters(self, spec: str, defaults: Mapping[str, Any]) -> Metric:
        """Return the metric with the parameters of a spec, and other defaults for those it leaves open."""
        _, given = split_spec(spec)
        own = read_parameters(self.function, spec, defaults)
        try:
            needs = self.needs if isinstance(self.needs, Needs) else self.needs(**own)
        except FinercamError as error:
            raise FinercamError(f"{spec!r}: {error}") from None
        if callable(self.title):
            title = self.title(**own)
        else:
            title = f"{self.title} ({', '.join(given)})" if given else self.title
        asked = "@".join([self.name, *given])
        return Metric(
            self.name,
            asked,
            title,
            self.better,
            tuple(own.items()),
            needs,
            tuple(Column(_column(asked, one), f"{title} {one}".rstrip(), self.better) for one in self.numbers),
            tuple(_column(asked, one) for one in self.lists),
            tuple(
                Summarised(
                    Column("@".join([summary.name, *given]), summary.title, summary.better),
                    tuple(_column(asked, one) for one in summary.reads),
                    summary.function,
                )
                for summary in self.summaries
            ),
            self.function,
        )


METRICS: Registry[Definition] = Registry("metric", "finercam.metrics", "finercam.metrics")


def metric(
    name: str,
    *,
    title: str | Callable[..., str] | None = None,
    better: Better = "",
    needs: Needs | Callable[..., Needs] = NOTHING,
    numbers: Sequence[str] = ("",),
    lists: Sequence[str] = (),
    summaries: Sequence[Summary] = (),
) -> Callable[[Function], Function]:
    """Register a function of a view as a metric; see the head of this file for one.

    Args:
        name: how users ask for it.
        title: how tables call it; or a function of its parameters. To a text, what the spec gives is added.
        better: whether ``higher`` or ``lower`` values are.
        needs: what it reads of the view beside the map; or a function of its parameters, which may also refuse them.
        numbers: its columns of one number; ``""`` has the metric's name, ``"x"`` that name, a space and x.
        lists: its columns of a list of numbers.
        summaries: columns computed from all photos' rows together.

    A function that has the one column ``""`` returns its numbers (b); one that has others returns a mapping from
    column to numbers (b) or lists (b n). NaN is undefined.

    Raises:
        FinercamError: the name is taken.
    """

    def register(function: Function) -> Function:
        METRICS.add(
            name,
            Definition(name, title or name, better, needs, tuple(numbers), tuple(lists), tuple(summaries), function),
        )
        return function

    return register


def find_metric(spec: str | Metric, **defaults: Any) -> Metric:
    """Return the metric for ``name``, ``name@value`` or ``name@parameter=value``.

    Args:
        spec: what was asked for.
        defaults: values of parameters that the spec leaves open, for metrics that have them: ``steps=20``.

    Raises:
        FinercamError: there is none of that name, or a parameter is unknown, of another type or out of range.
    """
    if isinstance(spec, Metric):
        return spec
    return METRICS.find(split_spec(spec)[0]).with_parameters(spec.strip(), defaults)


def default_metrics(regions: Collection[str]) -> tuple[str, ...]:
    """Return what is measured where nothing is said: the paper's metrics, and what keeps them honest.

    Relative drop and deletion are measured with a blurred fill, too, and the drop in blocks: scattered pixels raise
    the paper's (10 % of noise does), and no fill is neutral. How far a map depends on the class goes with them.

    Args:
        regions: what a data set's photos are annotated with.
    """
    specs = []
    if "difference" in regions:
        # Where the truth is known, it is asked first.
        specs += [f"{name}@difference" for name in ("pointing", "average-precision", "localization")]
        specs += [f"average-precision@{side}" for side in ("present", "absent") if side in regions]
    # Fewer steps with the second fill: it says how far the first can be believed.
    specs += ["deletion", "deletion@steps=20@fill=blur", "relative-drop@0.05", "relative-drop@0.1"]
    specs += ["relative-drop@0.05@fill=blur", "relative-drop@0.05@cells=14"]
    if "box" in regions or "mask" in regions:
        # Energy can be raised by sharpening alone, which this ranking does not reward.
        specs += ["localization", "average-precision"]
    if {"parts", "box"} <= set(regions):
        specs.append("parts-precision@0.1")
    return (*specs, "class-sensitivity@random", "class-sensitivity@reversed")


def _column(spec: str, key: str) -> str:
    return f"{spec} {key}" if key else spec


def _named(columns: Collection[str]) -> str:
    return ", ".join(map(repr, columns)) or "nothing"


def _listed(values: Tensor) -> list[Any]:
    """Return numbers, or lists of numbers, with None where they are undefined."""
    if values.ndim > 1:
        return [_listed(row) for row in values]
    return [None if value != value else value for value in values.double().tolist()]


def _stacked(values: Sequence[Any]) -> Tensor:
    """Return numbers n or lists n k as a tensor, NaN where they are undefined or shorter than the longest."""
    blank = float("nan")
    if not any(isinstance(value, Sequence) for value in values):
        return torch.tensor([blank if value is None else value for value in values], dtype=torch.float64)
    width = max(len(value) for value in values if value is not None)
    rows = [[blank if one is None else one for one in value or ()] for value in values]
    return torch.tensor([row + [blank] * (width - len(row)) for row in rows])
