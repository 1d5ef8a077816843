"""Is a concept found where it is? On the aviary, where the part that every trait is seen on is known.

A model of images and text is asked about each trait of a bird in words, "a white eye ring", alone and against a base,
"a bird" (arXiv 2501.11309, Section 3.3: the concept's logit minus gamma times the base word's). The saliency is held
against the pixels of the part that the trait is seen on, which the model was never told of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finercam.aviary import ATTRIBUTES, PART_OF, SPECIES, Aviary, Sample, label_names
from finercam.aviary.captions import phrase
from finercam.contrast.contrast import PLAIN, Contrast
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, gather
from finercam.explanations.explaining import preprocess
from finercam.methods.method import find_method
from finercam.metrics.intervals import Mean, bootstrap_mean
from finercam.metrics.localization import average_precision, energy_inside
from finercam.models import Classifier

#: Shown for the concept's own map.
ALONE = "alone"
BASE = "a bird"
LEAST = 16
"""Pixels (of a picture of 128 x 128) that must be seen of a part before its trait is asked about."""


@dataclass(frozen=True)
class Row:
    """One trait of one bird, one map.

    Attributes:
        index: of the sample in its split.
        attribute, value: the trait, as in ``ATTRIBUTES``.
        part: where it is seen.
        contrast: ``alone``, ``gamma 0.6`` ...
        energy: share of saliency on the part, 0 to 1.
        precision: average precision of saliency as a ranking of the part's pixels, 0 to 1.
        area: the part's share of the image.
        empty: whether the map is zero.
    """

    index: int
    attribute: str
    value: str
    part: str
    contrast: str
    energy: float
    precision: float
    area: float
    empty: bool


def concepts() -> dict[tuple[str, str], str]:
    """Return the prompt of every trait that a species has and that can be seen: (attribute, value) to words."""
    return {
        (key, value): phrase(key, value)
        for key in ATTRIBUTES
        for value in dict.fromkeys(species.attributes[key] for species in SPECIES)
        if value != "none"
    }


def concept_classifier(model: str | os.PathLike[str], *, base: str = BASE, device: str = "auto") -> Classifier:
    """Return a classifier whose "classes" are the base and every trait, as prompts.

    Args:
        model: as ``finercam.models.text`` takes it.
        base: what concepts are compared with.
        device: as for ``finercam.load``.
    """
    from finercam.models.text import BARE, text

    return text(model, [base, *concepts().values()], templates=BARE, device=device)


def measure(
    classifier: Classifier,
    birds: Aviary,
    *,
    method: str = "gradcam",
    gammas: Sequence[float] = (0.6, 1.0),
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Return one row per bird, trait and map.

    Args:
        classifier: its first class is the base, its others hold the prompts of ``concepts()``.
        birds: what to explain.
        method: a CAM method.
        gammas: strengths of the comparison with the base; the concept alone is always measured.
        batch_size: birds per run.
        advance: called with the number of birds done, for a progress bar.

    Raises:
        FinercamError: the classifier knows nothing of some trait.
    """
    prompts = concepts()
    names = () if classifier.labels is None else classifier.labels.names
    missing = [prompt for prompt in prompts.values() if prompt not in names[1:]]
    if missing:
        raise FinercamError(f"the classifier has no class {missing[0]!r}; make it with concept_classifier()")
    classes = {trait: names.index(prompt) for trait, prompt in prompts.items()}
    rows: list[Row] = []
    for start in range(0, len(birds), batch_size):
        samples = {index: birds[index] for index in range(start, min(start + batch_size, len(birds)))}
        rows += _measure_batch(classifier, samples, classes, method, gammas)
        advance(len(samples))
    return rows


def _measure_batch(
    classifier: Classifier,
    samples: Mapping[int, Sample],
    classes: Mapping[tuple[str, str], int],
    method: str,
    gammas: Sequence[float],
) -> list[Row]:
    how = find_method(method)
    traits = [_visible_traits(sample) for sample in samples.values()]
    images = torch.stack([preprocess(classifier, sample.image) for sample in samples.values()])
    every = sorted({0, *(classes[trait] for own in traits for trait in own)})
    evidence, _ = gather(classifier, images, [PLAIN], 0, method=how, collect=every)
    contrasts = {ALONE: PLAIN} | {f"gamma {gamma:g}": Contrast(against=[0], gamma=gamma) for gamma in gammas}
    rows: list[Row] = []
    # The n-th trait of every bird of the batch at once; a bird with fewer repeats its first, which is not counted.
    for turn in range(max(map(len, traits))):
        asked = [own[turn] if turn < len(own) else own[0] for own in traits]
        truth = torch.stack([
            torch.from_numpy(sample.masks[PART_OF[key]])
            for sample, (key, _) in zip(samples.values(), asked, strict=True)
        ]).to(evidence.logits.device)  # fmt: skip
        questions = ask(classifier, evidence.logits, list(contrasts.values()), [classes[trait] for trait in asked])
        for title, question in zip(contrasts, questions, strict=True):
            saliency = answer(evidence, question, how).saliency
            energy, precision = energy_inside(saliency, truth), average_precision(saliency, truth)
            rows += [
                _row(index, asked[i], title, float(energy[i]), float(precision[i]), truth[i], saliency[i])
                for i, index in enumerate(samples)
                if turn < len(traits[i])
            ]
    return rows


def _visible_traits(sample: Sample) -> list[tuple[str, str]]:
    """Return the traits whose part can be seen."""
    least = LEAST * sample.image.shape[0] ** 2 / 128**2
    return [
        (key, value)
        for key, value in sample.attributes.items()
        if value != "none" and PART_OF[key] in sample.masks and sample.masks[PART_OF[key]].sum() >= least
    ]


def _row(
    index: int, trait: tuple[str, str], title: str, energy: float, precision: float, truth: Tensor, saliency: Tensor
) -> Row:
    area, empty = float(truth.float().mean()), float(saliency.max()) <= 0
    return Row(index, *trait, PART_OF[trait[0]], title, energy, precision, area, empty)


@dataclass(frozen=True)
class Summary:
    """A line of the table: means over birds (of each bird's mean over its traits), and paired gains over ``alone``.

    Attributes:
        of: ``all``, an attribute, or ``attribute=value``.
        contrast: as in ``Row``.
        energy, precision: see ``Row``.
        energy_gain, precision_gain: ``None`` for ``alone`` itself.
        area: mean share of the image, what a map that knows nothing would score.
        empty: share of maps that are zero.
    """

    of: str
    contrast: str
    energy: Mean
    precision: Mean
    energy_gain: Mean | None
    precision_gain: Mean | None
    area: float
    empty: float


def summarise(rows: Sequence[Row], by: str = "all") -> list[Summary]:
    """Return a summary per group and contrast.

    Intervals are over birds: traits of one bird are not independent.

    Args:
        rows: from ``measure``.
        by: ``all``, ``attribute`` or ``trait``.
    """
    if by not in _GROUPS:
        raise FinercamError(f"by is {by!r}; give one of {', '.join(_GROUPS)}")
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(_GROUPS[by](row), {}).setdefault(row.contrast, []).append(row)
    summaries = []
    for of, by_contrast in groups.items():
        means = {
            (contrast, name): _per_bird(own, name)
            for contrast, own in by_contrast.items()
            for name in ("energy", "precision")
        }
        for contrast, own in by_contrast.items():
            energy, precision = means[contrast, "energy"], means[contrast, "precision"]
            alone = contrast == ALONE
            summaries.append(
                Summary(
                    of,
                    contrast,
                    energy=bootstrap_mean(energy),
                    precision=bootstrap_mean(precision),
                    energy_gain=None if alone else bootstrap_mean(energy - means[ALONE, "energy"]),
                    precision_gain=None if alone else bootstrap_mean(precision - means[ALONE, "precision"]),
                    area=float(np.mean([row.area for row in own])),
                    empty=float(np.mean([row.empty for row in own])),
                )
            )
    return summaries


_GROUPS: dict[str, Callable[[Row], str]] = {
    "all": lambda row: "all",
    "attribute": lambda row: row.attribute,
    "trait": lambda row: f"{row.attribute}={row.value}",
}


def _per_bird(rows: Iterable[Row], name: str) -> Tensor:
    """Return a column's mean over each bird's rows, in the order of the birds."""
    birds: dict[int, list[float]] = {}
    for row in rows:
        birds.setdefault(row.index, []).append(getattr(row, name))
    return torch.tensor([float(np.mean(values)) for _, values in sorted(birds.items())], dtype=torch.float64)


@dataclass(frozen=True)
class Accuracy:
    """What a model of images and text says of birds without training.

    Attributes:
        n: how many birds.
        species: share whose species' name is the nearest of all.
        traits: for every attribute the share whose value's prompt is the nearest of that attribute's prompts ("no
            crest" and the like are among them).
    """

    n: int
    species: float
    traits: Mapping[str, float]

    @property
    def trait(self) -> float:
        """The mean over attributes."""
        return float(np.mean(list(self.traits.values())))


def zero_shot(model: str | os.PathLike[str], birds: Aviary, *, batch_size: int = 32, device: str = "auto") -> Accuracy:
    """Count how often a model of images and text names species and traits rightly, among those of the 32 species."""
    from finercam.models.text import BARE, text

    values = {key: tuple(dict.fromkeys(species.attributes[key] for species in SPECIES)) for key in ATTRIBUTES}
    prompts = [phrase(key, value) for key, own in values.items() for value in own]
    classifier = text(
        model, [*(f"a photo of a {name}" for name in label_names), *prompts], templates=BARE, device=device
    )
    right: dict[str, list[bool]] = {key: [] for key in ("species", *ATTRIBUTES)}
    for start in range(0, len(birds), batch_size):
        samples = [birds[index] for index in range(start, min(start + batch_size, len(birds)))]
        images = torch.stack([preprocess(classifier, sample.image) for sample in samples])
        with torch.no_grad():
            logits = classifier.module(classifier.take(images)).cpu()
        right["species"] += [
            int(row[: len(SPECIES)].argmax()) == s.label for row, s in zip(logits, samples, strict=True)
        ]
        at = len(SPECIES)
        for key, own in values.items():
            said = logits[:, at : at + len(own)].argmax(1).tolist()
            right[key] += [own[i] == sample.attributes[key] for i, sample in zip(said, samples, strict=True)]
            at += len(own)
    shares = {key: float(np.mean(answers)) for key, answers in right.items()}
    return Accuracy(len(birds), shares.pop("species"), shares)
