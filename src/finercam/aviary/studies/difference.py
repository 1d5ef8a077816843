"""Does the map show the difference? On the aviary, where the true difference of two species is known pixel by pixel.

Each bird is explained as its own species c against the look-alike d of its family whose logit is nearest. Measured
are where the saliency lies (on the parts that tell c and d apart?) and whether the network uses those parts at all:
repainting them as d's must make the margin ``y_c - y_d`` fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.aviary import Aviary, label_names, look_alikes
from finercam.aviary.species import SPECIES
from finercam.aviary.studies.running import rows_over
from finercam.contrast.contrast import PLAIN, Contrast, exactly
from finercam.explanations.answering import answer, ask, gather_each, taps_of
from finercam.explanations.explaining import preprocess
from finercam.methods.method import find_method
from finercam.metrics.controls import controls
from finercam.metrics.intervals import Mean, mean_of
from finercam.metrics.localization import average_precision, energy_inside
from finercam.models.classifier import Classifier
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Prepared, Study

#: Shown as the base method's own row in tables.
ALONE = "alone"


@dataclass(frozen=True)
class Row:
    """One image, one map.

    Attributes:
        id: of the bird.
        target, other: the species and its nearest look-alike, as class indices.
        correct: whether the target was the top prediction.
        method: a CAM method's title, or a control.
        contrast: ``alone``, ``gamma 0.6`` ..., or empty for a control.
        energy: share of saliency on the true difference, 0 to 1.
        precision: average precision of saliency as a ranking of its pixels, 0 to 1.
        area: the true difference's share of the image.
        empty: whether the map is zero.
        margin: ``y_c - y_d``.
        repainted: the same after the difference was repainted as the look-alike's.
    """

    id: int
    target: int
    other: int
    correct: bool
    method: str
    contrast: str
    energy: float
    precision: float
    area: float
    empty: bool
    margin: float
    repainted: float


@dataclass(frozen=True, eq=False)
class Bird(Prepared):
    """A bird ready to be measured.

    Attributes:
        differences: the pixels that tell it from each look-alike, by the label of that.
    """

    differences: Mapping[int, Bool[NDArray[Any], "H W"]]


@dataclass(frozen=True)
class Difference(Study[Classifier, Bird]):
    """Measures a classifier of the aviary's species, in their order; birds whose difference is hidden have no rows.

    Args:
        birds: what is measured, to be repainted.
        methods: specs of methods.
        gammas: strengths of the comparison; the plain map is always measured.
    """

    name: ClassVar[str] = "difference"
    row_key: ClassVar[tuple[str, ...]] = ("method", "contrast")

    birds: Aviary
    methods: tuple[str, ...] = ("gradcam", "layercam", "scorecam")
    gammas: tuple[float, ...] = (0.6, 1.0)

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        methods = [find_method(spec).spec for spec in self.methods]
        return {"birds": asdict(self.birds), "methods": methods, "gammas": list(self.gammas)}

    def schema(self) -> pa.Schema:
        """Return the columns of ``Row``."""
        return pa.schema(
            [
                ("other", pa.int32()),
                ("correct", pa.bool_()),
                ("method", pa.string()),
                ("contrast", pa.string()),
                *((name, pa.float64()) for name in ("energy", "precision", "area")),
                ("empty", pa.bool_()),
                ("margin", pa.float64()),
                ("repainted", pa.float64()),
            ]
        )

    def uses(self) -> Iterable[Any]:
        """Return the functions of the methods."""
        return [one for spec in self.methods for one in find_method(spec).functions]

    def prepare(self, opened: Opened) -> Bird:
        """Return the bird with its differences in the classifier's input."""
        placed = {other: opened.placement.mask(mask) for other, mask in opened.example.differences.items()}
        return Bird(opened.entry, opened.image, {other: mask.numpy() for other, mask in placed.items()})

    def start(self, bench: Bench[Classifier]) -> Callable[[Sequence[Bird]], list[list[dict[str, Any]]]]:
        """Return what measures batches."""
        return lambda batch: _measure(self, bench, batch)

    def summary(self, rows: Rows) -> list[Summary]:
        """Return a line for each map, over correctly classified birds."""
        return summarise(rows.records(Row))


def _measure(study: Difference, bench: Bench[Classifier], batch: Sequence[Bird]) -> list[list[dict[str, Any]]]:
    classifier = bench.model
    images = torch.from_numpy(np.stack([bird.image for bird in batch]))
    targets = [bird.entry.item.label for bird in batch]
    family = [[label_names.index(other.name) for other in look_alikes(SPECIES[target])] for target in targets]
    ways = [find_method(spec) for spec in study.methods]
    with classifier.look(images, bench.run, at=taps_of(ways, classifier)) as look:
        logits = look.logits
        others = [
            min(f, key=lambda d: abs(float(y[d] - y[c]))) for y, c, f in zip(logits, targets, family, strict=True)
        ]
        contrasts = [PLAIN, *(Contrast(against=[[d] for d in others], gamma=gamma) for gamma in study.gammas)]
        titles = [ALONE, *(f"gamma {exactly(gamma)}" for gamma in study.gammas)]
        questions = ask(classifier, logits, contrasts, targets)
        evidence = gather_each(look, ways, questions, collect=[])
        repainted = torch.stack(
            [
                preprocess(classifier, study.birds.repaint(_index(bird), SPECIES[d].name).image)
                for bird, d in zip(batch, others, strict=True)
            ]
        )
        with look.beside(repainted) as beside:
            after = beside.logits
    margins = [_margins(y, targets, others) for y in (logits, after)]
    told_apart = np.stack([bird.differences[d] for bird, d in zip(batch, others, strict=True)])
    truth = torch.from_numpy(told_apart).to(logits.device)
    size = (truth.shape[1], truth.shape[2])
    maps = {(name, ""): control.to(logits) for name, control in controls([b.entry.id for b in batch], size).items()}
    for how, own in zip(ways, evidence, strict=True):
        for title, question in zip(titles, questions, strict=True):
            maps[how.full_title, title] = answer(own, question).saliency
    top = logits.argmax(1).tolist()
    found: list[list[dict[str, Any]]] = [[] for _ in batch]
    for (method, title), saliency in maps.items():
        energy, precision = energy_inside(saliency, truth), average_precision(saliency, truth)
        for i, rows in enumerate(found):
            if bool(truth[i].any()):
                rows.append(
                    {
                        "target": targets[i],
                        "other": others[i],
                        "correct": top[i] == targets[i],
                        "method": method,
                        "contrast": title,
                        "energy": float(energy[i]),
                        "precision": float(precision[i]),
                        "area": float(truth[i].float().mean()),
                        "empty": float(saliency[i].max()) <= 0,
                        "margin": float(margins[0][i]),
                        "repainted": float(margins[1][i]),
                    }
                )
    return found


def _index(bird: Prepared) -> int:
    """Return a bird's number in its aviary, which its key ends with."""
    return int(bird.entry.item.key.rpartition("/")[2])


def _margins(logits: Tensor, targets: Sequence[int], others: Sequence[int]) -> Tensor:
    rows = torch.arange(len(targets), device=logits.device)
    return logits[rows, torch.tensor(targets)] - logits[rows, torch.tensor(others)]


def measure(
    classifier: Classifier,
    birds: Aviary,
    *,
    methods: Sequence[str] = ("gradcam", "layercam", "scorecam"),
    gammas: Sequence[float] = (0.6, 1.0),
    **options: Any,
) -> list[Row]:
    """Return one row per image and map, controls included.

    Args:
        classifier, birds, methods, gammas: as for ``Difference``.
        options: of ``finercam.aviary.studies.running.rows_over``.
    """
    with rows_over(birds, Difference(birds, tuple(methods), tuple(gammas)), classifier, **options) as rows:
        return rows.records(Row)


@dataclass(frozen=True)
class Summary:
    """A line of the table: means over images, and the paired gain over the same method alone."""

    method: str
    contrast: str
    energy: Mean
    precision: Mean
    energy_gain: Mean | None
    precision_gain: Mean | None


def summarise(rows: Sequence[Row], *, only_correct: bool = True) -> list[Summary]:
    """Return one summary per map, in the order of the rows, over correctly classified birds (or over all)."""
    kept = [row for row in rows if row.correct or not only_correct]
    by_map: dict[tuple[str, str], list[Row]] = {}
    for row in kept:
        by_map.setdefault((row.method, row.contrast), []).append(row)
    summaries = []
    for (method, contrast), own in by_map.items():
        base = by_map.get((method, ALONE)) if contrast not in ("", ALONE) else None
        summaries.append(
            Summary(
                method,
                contrast,
                mean_of(_column(own, "energy")),
                mean_of(_column(own, "precision")),
                mean_of(_column(own, "energy") - _column(base, "energy")) if base else None,
                mean_of(_column(own, "precision") - _column(base, "precision")) if base else None,
            )
        )
    return summaries


@dataclass(frozen=True)
class Intervention:
    """What repainting the true difference as the look-alike's does to the margin ``y_c - y_d``."""

    before: Mean
    fall: Mean
    changed_sides: Mean


def intervention(rows: Sequence[Row], *, only_correct: bool = True) -> Intervention:
    """Return the margin before, its fall, and the share of birds for which the network changes sides."""
    per_image = {row.id: row for row in rows if row.correct or not only_correct}
    own = list(per_image.values())
    before, after = _column(own, "margin"), _column(own, "repainted")
    sides = ((before > 0) & (after < 0)).double()
    return Intervention(mean_of(before), mean_of(before - after), mean_of(sides))


def _column(rows: Sequence[Row], name: str) -> Float[Tensor, " n"]:
    return torch.tensor([getattr(row, name) for row in rows], dtype=torch.float64)
