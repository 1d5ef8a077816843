"""Does the map show the difference? On the aviary, where the true difference of two species is known pixel by pixel.

Each bird is explained as its own species c against the look-alike d of its family whose logit is nearest. Measured
are where the saliency lies (on the parts that tell c and d apart?) and whether the network uses those parts at all:
repainting them as d's must make the margin ``y_c - y_d`` fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.aviary import Aviary, label_names, look_alikes
from finercam.aviary.species import SPECIES
from finercam.contrast.contrast import PLAIN, Contrast
from finercam.explanations.answering import answer, ask, gather
from finercam.explanations.explaining import preprocess
from finercam.methods.method import find_method
from finercam.metrics.controls import controls
from finercam.metrics.intervals import Mean, bootstrap_mean
from finercam.metrics.localization import average_precision, energy_inside
from finercam.models import Classifier

#: Shown as the base method's own row in tables.
ALONE = "alone"


@dataclass(frozen=True)
class Row:
    """One image, one map.

    Attributes:
        index: of the sample in its split.
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

    index: int
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


def measure(
    classifier: Classifier,
    birds: Aviary,
    *,
    methods: Sequence[str] = ("gradcam", "layercam", "scorecam"),
    gammas: Sequence[float] = (0.6, 1.0),
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Return one row per image and map, controls included. Birds whose difference is hidden are left out.

    Args:
        classifier: of the aviary's species, in their order.
        birds: what to explain.
        methods: CAM methods.
        gammas: strengths of the comparison; the plain CAM is always measured.
        batch_size: birds per run.
        advance: called with the number of birds done, for a progress bar.
    """
    rows: list[Row] = []
    for start in range(0, len(birds), batch_size):
        indices = range(start, min(start + batch_size, len(birds)))
        rows += _measure_batch(classifier, birds, indices, methods, gammas)
        advance(len(indices))
    return rows


def _measure_batch(
    classifier: Classifier, birds: Aviary, indices: Iterable[int], methods: Sequence[str], gammas: Sequence[float]
) -> list[Row]:
    samples = {index: birds[index] for index in indices}
    images = _stack(classifier, (sample.image for sample in samples.values()))
    targets = [sample.label for sample in samples.values()]
    family = [[label_names.index(other.name) for other in look_alikes(SPECIES[target])] for target in targets]
    every = Contrast(against=family, references=max(map(len, family)), gamma=1.0)

    gradients, _ = gather(classifier, images, [every], targets, collect=[])
    logits = gradients.logits
    others = [min(f, key=lambda d: abs(float(y[d] - y[c]))) for y, c, f in zip(logits, targets, family, strict=True)]
    repainted = _stack(
        classifier, (birds.repaint(i, SPECIES[d].name).image for i, d in zip(samples, others, strict=True))
    )
    after, _ = gather(classifier, repainted, [PLAIN], targets)
    margins = [_margins(y, targets, others) for y in (logits, after.logits)]
    contrasts = [PLAIN, *(Contrast(against=[[d] for d in others], gamma=gamma) for gamma in gammas)]
    titles = [ALONE, *(f"gamma {gamma:g}" for gamma in gammas)]

    told_apart = [s.differences[SPECIES[d].name] for s, d in zip(samples.values(), others, strict=True)]
    truth = torch.stack([torch.from_numpy(mask) for mask in told_apart]).to(logits.device)
    maps: dict[tuple[str, str], Tensor] = {
        (name, ""): control.to(logits) for name, control in controls(list(samples), classifier.image_size).items()
    }
    for name in methods:
        how = find_method(name)
        evidence = gradients
        if how.evidence != "gradients":
            evidence, _ = gather(classifier, images, [PLAIN], targets, method=how)
        for title, question in zip(titles, ask(classifier, logits, contrasts, targets), strict=True):
            maps[how.title, title] = answer(evidence, question, how).saliency
    top = logits.argmax(1).tolist()
    return [
        Row(
            index=index,
            target=targets[i],
            other=others[i],
            correct=top[i] == targets[i],
            method=method,
            contrast=title,
            energy=float(energy[i]),
            precision=float(precision[i]),
            area=float(truth[i].float().mean()),
            empty=float(saliency[i].max()) <= 0,
            margin=float(margins[0][i]),
            repainted=float(margins[1][i]),
        )
        for (method, title), saliency in maps.items()
        for energy, precision in [(energy_inside(saliency, truth), average_precision(saliency, truth))]
        for i, index in enumerate(samples)
        if bool(truth[i].any())
    ]


def _stack(classifier: Classifier, pictures: Iterable[NDArray[Any]]) -> Tensor:
    return torch.stack([preprocess(classifier, picture) for picture in pictures])


def _margins(logits: Tensor, targets: Sequence[int], others: Sequence[int]) -> Tensor:
    rows = torch.arange(len(targets), device=logits.device)
    return logits[rows, torch.tensor(targets)] - logits[rows, torch.tensor(others)]


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
    """Return one summary per map, in the order of the rows, over birds the network names rightly (or over all)."""
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
                bootstrap_mean(_column(own, "energy")),
                bootstrap_mean(_column(own, "precision")),
                bootstrap_mean(_column(own, "energy") - _column(base, "energy")) if base else None,
                bootstrap_mean(_column(own, "precision") - _column(base, "precision")) if base else None,
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
    per_image = {row.index: row for row in rows if row.correct or not only_correct}
    own = list(per_image.values())
    before, after = _column(own, "margin"), _column(own, "repainted")
    sides = ((before > 0) & (after < 0)).double()
    return Intervention(bootstrap_mean(before), bootstrap_mean(before - after), bootstrap_mean(sides))


def _column(rows: Sequence[Row], name: str) -> Float[Tensor, " n"]:
    return torch.tensor([getattr(row, name) for row in rows], dtype=torch.float64)
