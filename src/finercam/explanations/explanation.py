"""What a user holds: one photo explained, with its names, numbers and pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import Contrast
from finercam.contrast.objective import Objective
from finercam.contrast.options import OPTIONS, refuse_unknown
from finercam.contrast.question import Question
from finercam.data.original import Original
from finercam.data.regions import Region, RegionLike
from finercam.errors import FinercamError
from finercam.explanations import stored
from finercam.explanations.answering import answer, ask, gather
from finercam.explanations.fields import record
from finercam.explanations.outlining import LEAST, find_regions
from finercam.explanations.pictured import Pictured
from finercam.explanations.speaking import Spoken, speak
from finercam.methods.evidence import Evidence, NotGathered
from finercam.methods.method import Method, find_method
from finercam.models.facts import Facts
from finercam.models.run import Run

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Explanation(Pictured):
    """Why this class and not its look-alikes, for one photo.

    Attributes:
        saliency: ReLU of the map, at the size of the model's input; not scaled to 0..1.
        map: signed, at the evidence's resolution.
        plain: saliency of the same method without the comparison (gamma 0).
        image: what the model was given.
        logits: of all classes.
        target, references: class indices; references nearest first.
        contrast, method, run: what was asked, and how.
        facts: what is known of the model: names, layers, how to show its input.
        source: the photo's path, where it has one.
        original: the photo as it was given; ``None`` for a preprocessed tensor.
        evidence: kept for ``again``, or ``None``.
        classifier: the model; ``None`` where the explanation was loaded without it.
    """

    saliency: Float[Tensor, "H W"]
    map: Float[Tensor, "h w"]
    plain: Float[Tensor, "H W"]
    image: Float[Tensor, "c H W"] = field(repr=False)
    logits: Float[Tensor, " C"] = field(repr=False)
    target: int
    references: tuple[int, ...]
    contrast: Contrast | Objective
    method: Method
    facts: Facts = field(repr=False)
    run: Run = field(default_factory=Run)
    source: str | None = None
    original: Original | None = field(default=None, repr=False)
    evidence: Evidence | None = field(default=None, repr=False)
    classifier: Classifier | None = field(default=None, repr=False)

    @property
    def empty(self) -> bool:
        """Whether the saliency is zero everywhere; nothing speaks for the target then."""
        return float(self.saliency.max()) <= 0

    @property
    def probabilities(self) -> Float[Tensor, " C"]:
        """Softmax over all classes, or each class's sigmoid (``facts.probabilities``)."""
        return self.facts.probabilities_of(self.logits)

    @property
    def confidence(self) -> float:
        """The probability of what is explained: of the target, or of its taxon where one was asked about, 0 to 1."""
        return float(self.probabilities[self.contrast.classes_of(self.target, self.facts.labels)].sum())

    @property
    def similarities(self) -> Float[Tensor, " C"] | None:
        """Cosines of the image and the prompts, -1 to 1, where the classes are prompts."""
        return self.facts.similarities(self.logits) if self.facts.prompts else None

    @property
    def target_name(self) -> str:
        """The target's name, or ``class 7`` where there are no names."""
        return self.facts.class_name(self.target)

    @property
    def reference_names(self) -> list[str]:
        """The references' names."""
        return [self.facts.class_name(index) for index in self.references]

    def __str__(self) -> str:
        return self.contrast.sentence(self.target, self.references, self.facts.labels)

    def __repr__(self) -> str:
        return f"<Explanation: {self} ({self.method.full_title}{', empty' if self.empty else ''})>"

    def again(
        self,
        *,
        method: str | Method | None = None,
        target: Any = None,
        collect: bool = False,
        contrast: Contrast | Objective | None = None,
        **changes: Any,
    ) -> Explanation:
        """Ask the kept evidence something else: no run of the model.

        Args:
            method: another method that reads the same kind of evidence.
            target: another target class; this one if left out.
            collect: run the model again where the kept evidence does not reach, instead of raising.
            contrast: ask this instead.
            changes: options of the contrast that are different now: ``gamma``, ``against``, ``references`` ...

        Raises:
            NotCollected: a class in the question was not collected; the message names it.
            NotGathered: no evidence was kept (explain with ``keep=True``), or the method needs another kind.
            FinercamError: an option is unknown, or what was asked is an objective, which has none.
        """
        refuse_unknown(self.again, set(changes) - set(OPTIONS), OPTIONS)
        what = self._changed(changes) if contrast is None else contrast
        how = self.method if method is None else find_method(method)
        wanted = self.target if target is None else target
        classifier = self.classifier
        try:
            if self.evidence is None:
                raise NotGathered("no evidence was kept; explain with keep=True, or ask with collect=True")
            evidence = self.evidence.by(how)
            questions = ask(self.facts, evidence.logits, [what.alone, what], wanted)
            answer(evidence, questions[1])
        except NotGathered:
            if not collect:
                raise
            if classifier is None:
                raise FinercamError(
                    "this explanation was loaded without its model, so it cannot look at it again; "
                    "load it with classifier="
                ) from None
            already = (self.evidence.classes() if self.evidence is not None else None) or []
            images = self.image[None]
            evidence, questions = gather(
                classifier, images, [what.alone, what], wanted, method=how, collect=already, run=self.run
            )
        (again,) = explanations_from(
            evidence,
            *questions,
            images=self.image[None],
            contrast=what,
            facts=self.facts,
            classifier=classifier,
            run=self.run,
            sources=[self.source],
            originals=[self.original],
            keep=True,
        )
        return again

    def _changed(self, changes: dict[str, Any]) -> Contrast | Objective:
        if isinstance(self.contrast, Contrast):
            return self.contrast.changed(**changes)
        if changes:
            raise FinercamError(
                f"an objective ({self.contrast.name!r}) has no {', '.join(changes)}; ask again with contrast="
            )
        return self.contrast

    def speaks(self, region: RegionLike) -> Spoken:
        """Return which classes a region of the photo speaks for, and against: its share of each logit.

        Exact where the network ends in global average pooling and one linear layer and is looked at on the map that
        is pooled; elsewhere gradient times activation at the target layer, an attribution to the first order. The
        answer says which.

        Args:
            region: in pixels of the photo (of the input, where a tensor was explained): a ``Region``; a box x0, y0,
                x1, y1; a polygon of points x, y; or a mask (bool) of the photo's height and width.

        Raises:
            NotGathered: the kept evidence has no gradients (explain with a gradient method and ``keep=True``).
            FinercamError: it is not a region, or the preprocessing does more than resize, crop and pad.
        """
        return speak(self, region)

    def regions(self, by: str = "threshold", *, least: float | int = LEAST) -> list[Region]:
        """Return where the evidence is, as connected regions of the photo, the one with most of it first.

        They are in pixels of the upright photo; of the input, where a tensor was explained.

        Args:
            by: ``threshold@0.5``: pixels with at least half of the peak; ``top@0.1``: the tenth of the seen pixels
                with the most evidence; ``energy@0.5``: as few pixels as have half of the evidence together. The
                number may be left out; these are the usual ones.
            least: regions with a smaller share of the evidence are left out, 0 to 1.

        Raises:
            FinercamError: ``by`` is none of these; or the photo cannot be read, or its preprocessing does more than
                resize, crop and pad.
        """
        heat = self.saliency.detach().cpu() if self.original is None else self.on_photo()
        return find_regions(heat, by, least, (self.target_name, *self.reference_names))

    @classmethod
    def load(cls, path: str | os.PathLike[str], classifier: Classifier | None = None) -> Explanation:
        """Return an explanation that was saved with its evidence.

        Args:
            path: a ``.safetensors`` file that ``save`` wrote.
            classifier: the model, for questions that the evidence does not answer.

        Raises:
            NotGathered: it holds no evidence.
            FinercamError: the file cannot be read.
        """
        return stored.read(cls, Path(path), classifier)

    def record(self) -> dict[str, Any]:
        """Return everything but the maps as plain data, for a line of JSON; docs/fields.md has every field."""
        return record(self)


def explanations_from(
    evidence: Evidence,
    plain: Question,
    question: Question,
    *,
    images: Float[Tensor, "b c H W"],
    contrast: Contrast | Objective,
    facts: Facts,
    classifier: Classifier | None,
    run: Run,
    sources: Sequence[str | None],
    originals: Sequence[Original | None],
    keep: bool,
) -> list[Explanation]:
    """Return one explanation per image: the question's answer and, beside it, the plain map's."""
    assert evidence.how is not None
    base, found = answer(evidence, plain), answer(evidence, question)
    # Where no class has a coefficient nothing is asked. Score-CAM's softmax would answer all the same.
    asks = question.rows.flatten(1).any(1)
    maps = torch.where(asks[:, None, None], found.maps, 0)
    saliency = torch.where(asks[:, None, None], found.saliency, 0)
    return [
        Explanation(
            saliency=saliency[i],
            map=maps[i],
            plain=base.saliency[i],
            image=images[i],
            logits=evidence.logits[i],
            target=int(question.targets[i]),
            references=tuple(index for index in question.references[i].tolist() if index >= 0),
            contrast=contrast.part(slice(i, i + 1)),
            method=evidence.how,
            facts=facts,
            run=run,
            source=sources[i],
            original=originals[i],
            evidence=evidence.of(slice(i, i + 1)) if keep else None,
            classifier=classifier,
        )
        for i in range(len(images))
    ]
