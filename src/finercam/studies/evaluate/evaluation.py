"""The evaluation: a model's explanations measured over a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError, nearest
from finercam.methods.gradients import gather_gradients
from finercam.methods.method import Method, find_method
from finercam.metrics.masking import FILLS
from finercam.metrics.metric import Metric, find_metric
from finercam.metrics.view import OtherMap
from finercam.models.classifier import Classifier
from finercam.runs.study import Bench, Measurer, Opened, Study
from finercam.studies.evaluate.batches import Batches
from finercam.studies.evaluate.contrasts import contrast_name
from finercam.studies.evaluate.given import PREFIX, GivenMaps
from finercam.studies.evaluate.placing import Placed, place

if TYPE_CHECKING:
    from finercam.runs.rows import Rows
    from finercam.studies.evaluate.tables import Block

TARGETS = ("label", "predicted")
#: Class d: the one whose logit is nearest to the target's; or the nearest of those of which it is known where the photo
#: differs from them.
OTHERS = ("similar", "known")
_COLUMNS = (
    ("other", pa.int32()),
    ("told apart", pa.bool_()),
    ("predicted", pa.int32()),
    ("correct", pa.bool_()),
    ("confidence", pa.float64()),
    ("other confidence", pa.float64()),
    ("margin", pa.float64()),
    ("margin repainted", pa.float64()),
    ("method", pa.string()),
    ("contrast", pa.string()),
    ("empty", pa.bool_()),
)


@dataclass(frozen=True)
class Evaluation(Study[Classifier, Placed]):
    """Explanations measured over a data set: one row per photo and map.

    Args:
        methods: how maps are made, by name with parameters if need be (``rise@masks=500``); ``maps:DIR`` measures
            maps that another tool made (``finercam.studies.evaluate.given``).
        contrasts: what each method is asked; see ``contrasts_of``. Given maps are taken as they are.
        metrics: what is measured, as in ``relative-drop@0.1``.
        target: explain the ``label`` of each photo, or the class ``predicted``.
        other: class d, which the relative drop and ``difference`` are about: ``similar`` is the class with the logit
            nearest to the target's (arXiv 2501.11309, Eq. 10), ``known`` the nearest of those of which the data set
            knows where the photo differs from them. Photos without one, and those that the model does not tell from
            it (whose logit of the target is not the larger one), are not explained then, and counted.
        only_correct: explain only photos whose label is the top prediction.
        steps: of deletion and insertion, where the metric does not say.
        fill: what removed pixels are replaced by: ``mean``, ``black`` or ``blur``.
        controls: measure maps that know nothing of the network, and each method's own controls (see ``maps_of``),
            too; ``False`` is for timings.

    Raises:
        FinercamError: an option is not one of those there are.
    """

    methods: tuple[str, ...] = ("gradcam",)
    contrasts: tuple[Contrast, ...] = (PLAIN, Contrast())
    metrics: tuple[str, ...] = ("deletion", "relative-drop@0.05", "relative-drop@0.1")
    target: str = "label"
    other: str = "similar"
    only_correct: bool = False
    steps: int = 50
    fill: str = "mean"
    controls: bool = True

    name: ClassVar[str] = "evaluate"
    row_key: ClassVar[tuple[str, ...]] = ("method", "contrast")

    def __post_init__(self) -> None:
        if not (self.methods and self.contrasts and self.metrics):
            raise FinercamError("name at least one method, one contrast and one metric")
        specs = (one if one.startswith(PREFIX) else find_method(one).spec for one in self.methods)
        object.__setattr__(self, "methods", tuple(dict.fromkeys(specs)))
        object.__setattr__(self, "metrics", tuple(dict.fromkeys(metric.spec for metric in self.measured)))
        self.__dict__.pop("measured", None)
        if any(isinstance(contrast.against[0], tuple) for contrast in self.contrasts):
            raise FinercamError("lists of references per image are for one batch; name classes for all photos")
        named = {contrast_name(contrast): contrast for contrast in self.contrasts}
        object.__setattr__(self, "contrasts", tuple(named.values()))
        asked = ("target", self.target, TARGETS), ("other", self.other, OTHERS), ("fill", self.fill, FILLS)
        for option, given, choices in asked:
            if given not in choices:
                raise FinercamError(f"{option} is {given!r}; {nearest(given, choices)}")
        columns = [name for metric in self.measured for name in (*(one.spec for one in metric.numbers), *metric.lists)]
        twice = next((name for number, name in enumerate(columns) if name in columns[:number]), None)
        if twice is not None:
            raise FinercamError(f"two of the metrics have a column {twice!r}; leave one of them out")

    @cached_property
    def ways(self) -> tuple[Method | GivenMaps, ...]:
        """The methods, looked up."""
        return tuple(GivenMaps(one) if one.startswith(PREFIX) else find_method(one) for one in self.methods)

    @cached_property
    def measured(self) -> tuple[Metric, ...]:
        """The metrics, looked up."""
        return tuple(find_metric(spec, steps=self.steps) for spec in self.metrics)

    @property
    def given(self) -> tuple[GivenMaps, ...]:
        """The folders of maps among the methods."""
        return tuple(way for way in self.ways if isinstance(way, GivenMaps))

    @property
    def others(self) -> tuple[OtherMap, ...]:
        """The answers to other questions that metrics need.

        Raises:
            FinercamError: two metrics mean different ones by one name.
        """
        found: dict[str, OtherMap] = {}
        for other in (other for metric in self.measured for other in metric.needs.maps):
            if found.setdefault(other.name, other) != other:
                raise FinercamError(f"two of the metrics need different maps by the name {other.name!r}")
        return tuple(found.values())

    @property
    def reruns(self) -> bool:
        """Whether altered copies of the photos may be run: masked ones, or a method's own."""
        cuts = any(metric.needs.cuts(100) for metric in self.measured)
        return cuts or any(isinstance(way, Method) and way.gatherer is not gather_gradients for way in self.ways)

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        given = {maps.spec: maps.fingerprint() for maps in self.given}
        return {
            "methods": list(self.methods),
            **({"given maps": given} if given else {}),
            "contrasts": [contrast_name(contrast) for contrast in self.contrasts],
            "metrics": list(self.metrics),
            "target": self.target,
            "other": self.other,
            "only correct": self.only_correct,
            "steps": self.steps,
            "fill": self.fill,
            **({} if self.controls else {"controls": False}),
        }

    def schema(self) -> pa.Schema:
        """Return the columns: of the photo, of the map, a number per metric, lists of numbers."""
        numbers = [(column.spec, pa.float64()) for metric in self.measured for column in metric.numbers]
        lists = [(name, pa.list_(pa.float32())) for metric in self.measured for name in metric.lists]
        return pa.schema([*_COLUMNS, *numbers, *lists])

    def uses(self) -> Iterable[Any]:
        """Return the functions of the methods and metrics."""
        for way in self.ways:
            if isinstance(way, Method):
                yield from (part for part in (way.gatherer, way.function, way.taps) if part is not None)
        for metric in self.measured:
            yield metric.function

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise where the data is not annotated with what is asked of it, or there are no maps to be measured."""
        if self.other == "known" and "difference" not in dataset.regions:
            raise FinercamError(f"other is 'known', but {dataset.name} has no known differences; use other='similar'")
        for metric in self.measured:
            missing = metric.needs.missing(dataset.regions)
            if missing:
                raise FinercamError(f"metric {metric.spec!r} needs {missing}, which {dataset.name} does not have")

    def takes(self, item: Item, target: int) -> bool:
        """Return whether the item has a class that can be explained."""
        return self.target != "label" or target >= 0

    def prepare(self, opened: Opened) -> Placed:
        """Return the photo's input, the maps that were made elsewhere, and its regions if a metric needs them."""
        height, width = opened.image.shape[1:]
        given = {maps.spec: maps.read(opened.item.key, (height, width)) for maps in self.given}
        known = self.other == "known"
        if known or any(metric.needs.places for metric in self.measured):
            return place(opened, given, repaint=known)
        return Placed(opened.entry, opened.image, given=given)

    def start(self, bench: Bench[Classifier]) -> Measurer[Placed]:
        """Return what measures batches."""
        return Batches(self, bench)

    def summary(self, rows: Rows) -> Block:
        """Return the table of a run."""
        from finercam.studies.evaluate.tables import block_of

        return block_of(rows)
