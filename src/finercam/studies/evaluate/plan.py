"""What an evaluation measures: methods, contrasts, metrics, and all else that decides the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.errors import FinercamError, nearest
from finercam.methods.method import find_method
from finercam.metrics.masking import FILLS
from finercam.models.run import PRECISIONS
from finercam.studies.evaluate.measures import Measure, find_measure

#: The name of a base method's own rows.
PLAIN_NAME = "plain"
CONTRASTS = (PLAIN_NAME, "finer")
TARGETS = ("label", "predicted")


def contrast_name(contrast: Contrast) -> str:
    """Return a contrast's name in rows: what differs from Finer-CAM as published, so that it means one thing.

    ``plain``, ``finer``, ``finer gamma=1 references=1 max``.
    """
    if contrast.strength == 0 and not contrast.reverse:
        return PLAIN_NAME
    usual = Contrast(weighting=contrast.weighting)
    parts = ["finer"]
    if contrast.strength != usual.strength:
        parts.append(f"gamma={contrast.strength:g}")
    # A single rank is one reference, however many were asked for.
    if contrast.references != usual.references and "@" not in str(contrast.against):
        parts.append(f"references={contrast.references}")
    if contrast.against != usual.against:
        named = contrast.against
        parts.append(f"against={named if isinstance(named, str) else ','.join(map(str, named))}")
    parts += [value for value in (contrast.weighting, contrast.aggregate) if value != "mean"]
    if contrast.reverse:
        parts.append("reverse")
    return " ".join(parts)


def contrasts_of(
    which: Sequence[str] = CONTRASTS,
    *,
    gammas: Sequence[float] | None = None,
    references: Sequence[int] = (3,),
    against: Sequence[str] = ("similar",),
    weightings: Sequence[str] = ("mean",),
    aggregates: Sequence[str] = ("mean",),
) -> tuple[Contrast, ...]:
    """Return the plain CAM and every combination of the options, each once.

    Args:
        which: ``plain``, ``finer`` or both.
        gammas: strengths; ``None`` is each weighting's own.
        references, against, weightings, aggregates: those of ``Contrast``.
    """
    for name in which:
        if name not in CONTRASTS:
            raise FinercamError(f"contrasts are {', '.join(CONTRASTS)}, not {name!r}; {nearest(name, CONTRASTS)}")
    made = [PLAIN] if PLAIN_NAME in which else []
    if "finer" in which:
        strengths: Sequence[float | None] = (None,) if gammas is None else gammas
        for against_, weighting, aggregate, count, gamma in itertools.product(
            against, weightings, aggregates, references, strengths
        ):
            made.append(Contrast(against_, count, gamma, weighting, aggregate))
    return tuple({contrast_name(contrast): contrast for contrast in made}.values())


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        methods: CAM methods.
        contrasts: what each is asked; see ``contrasts_of``.
        metrics: specs of measures, as in ``--metrics``.
        target: explain the ``label`` of each photo, or the class ``predicted``.
        only_correct: explain only photos whose label is the top prediction.
        steps: of deletion and insertion.
        fill: what removed pixels are replaced by: ``mean``, ``black`` or ``blur``.
        precision: of the model's runs.
        batch_size: photos looked at together.
        copies: masked copies per run; ``None`` finds out what fits.

    Raises:
        FinercamError: an option is not one of those there are.
    """

    methods: tuple[str, ...] = ("gradcam",)
    contrasts: tuple[Contrast, ...] = (PLAIN, Contrast())
    metrics: tuple[str, ...] = ("deletion", "relative-drop@0.05", "relative-drop@0.1")
    target: str = "label"
    only_correct: bool = False
    steps: int = 50
    fill: str = "mean"
    precision: str = "float32"
    batch_size: int = 8
    copies: int | None = None

    def __post_init__(self) -> None:
        if not (self.methods and self.contrasts and self.metrics):
            raise FinercamError("name at least one method, one contrast and one metric")
        object.__setattr__(self, "methods", tuple(dict.fromkeys(find_method(name).name for name in self.methods)))
        object.__setattr__(self, "metrics", tuple(dict.fromkeys(measure.spec for measure in self.measures)))
        for option, given, choices in (
            ("target", self.target, TARGETS),
            ("fill", self.fill, FILLS),
            ("precision", self.precision, tuple(PRECISIONS)),
        ):
            if given not in choices:
                raise FinercamError(f"{option} is {given!r}; {nearest(given, choices)}")
        for option, number in (("batch_size", self.batch_size), ("copies", self.copies)):
            if number is not None and number < 1:
                raise FinercamError(f"{option} is {number}; it must be at least 1")

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The metrics, looked up."""
        return tuple(find_measure(spec, self.steps) for spec in self.metrics)

    def deciding(self) -> dict[str, Any]:
        """Return all that decides the numbers, for the fingerprint of a run."""
        return {
            "methods": list(self.methods),
            "contrasts": [contrast_name(contrast) for contrast in self.contrasts],
            "metrics": list(self.metrics),
            "target": self.target,
            "only correct": self.only_correct,
            "steps": self.steps,
            "fill": self.fill,
            "precision": self.precision,
        }
