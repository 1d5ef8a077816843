"""What a user holds: one photo explained, with its names, numbers and pictures."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.answering import answer, ask, gather
from finercam.contrast.contrast import PLAIN, Contrast, Objective, Question
from finercam.contrast.references import ClassName
from finercam.errors import FinercamError
from finercam.files import whole
from finercam.methods.cams import Method, find_method
from finercam.methods.evidence import GradientEvidence, NotGathered
from finercam.methods.scores import ScoreEvidence
from finercam.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why this class and not its look-alikes, for one photo.

    Attributes:
        saliency: ReLU of the map, at the size of the model's input; not scaled to 0..1.
        map: signed, at the layer's resolution.
        plain: saliency of the same method without the comparison (gamma 0).
        image: what the model was given.
        logits: of all classes.
        target, references: class indices; references nearest first.
        contrast, method, classifier, precision: what was asked, how, and of whom.
        source: the photo's path, where it has one.
        evidence: kept for ``again``, or ``None``.
    """

    saliency: Float[Tensor, "H W"]
    map: Float[Tensor, "h w"]
    plain: Float[Tensor, "H W"]
    image: Float[Tensor, "3 H W"] = field(repr=False)
    logits: Float[Tensor, " C"] = field(repr=False)
    target: int
    references: tuple[int, ...]
    contrast: Contrast | Objective
    method: Method
    classifier: Classifier = field(repr=False)
    precision: str = "float32"
    source: str | None = None
    evidence: GradientEvidence | ScoreEvidence | None = field(default=None, repr=False)

    @property
    def empty(self) -> bool:
        """Whether nothing speaks for the target: the saliency is zero everywhere."""
        return float(self.saliency.max()) <= 0

    @property
    def probabilities(self) -> Float[Tensor, " C"]:
        """Softmax over all classes."""
        return self.logits.softmax(0)

    @property
    def target_name(self) -> str:
        """The target's name, or ``class 7`` where there are no names."""
        return self.classifier.class_name(self.target)

    @property
    def reference_names(self) -> list[str]:
        """The references' names."""
        return [self.classifier.class_name(index) for index in self.references]

    def __str__(self) -> str:
        return self.contrast.sentence(self.target, self.references, self.classifier.labels)

    def __repr__(self) -> str:
        return f"<Explanation: {self} ({self.method.title}{', empty' if self.empty else ''})>"

    def again(
        self, *, method: str | None = None, target: Any = None, collect: bool = False, **changes: Any
    ) -> Explanation:
        """Ask the kept evidence something else: no run of the model.

        Args:
            method: another CAM method on the same kind of evidence.
            target: another target class; this one if left out.
            collect: run the model again where the kept evidence does not reach, instead of raising.
            changes: other options of the contrast: ``gamma``, ``against``, ``references`` ...

        Raises:
            NotCollected: a class in the question was not collected; the message names it.
            FinercamError: no evidence was kept (explain with ``keep=True``), or it is of another kind.
        """
        how = self.method if method is None else find_method(method)
        contrast = dataclasses.replace(self.contrast, **changes) if changes else self.contrast
        wanted = self.target if target is None else target
        images = self.image[None]
        try:
            if self.evidence is None:
                raise NotGathered("no evidence was kept; explain with keep=True, or ask with collect=True")
            evidence = self.evidence
            questions = ask(self.classifier, evidence.logits, [PLAIN, contrast], wanted)
            answer(evidence, questions[1], how)
        except NotGathered:
            if not collect:
                raise
            evidence, questions = gather(
                self.classifier, images, [PLAIN, contrast], wanted, method=how, collect=self._collected(),
                precision=self.precision,
            )  # fmt: skip
        (again,) = explanations_from(
            evidence, *questions, images=images, contrast=contrast, how=how, classifier=self.classifier,
            precision=self.precision, sources=[self.source], keep=True,
        )  # fmt: skip
        return again

    def _collected(self) -> list[ClassName]:
        if isinstance(self.evidence, GradientEvidence) and self.evidence.rows is not None:
            return list(self.evidence.rows.abs().amax((0, 1)).nonzero().flatten().tolist())
        return []

    def overlay(self) -> Image.Image:
        """Return the photo, as the model saw it, under the saliency. An empty map leaves the photo bare."""
        from finercam.report.render import overlay

        return overlay(self.photo(), self.saliency)

    def photo(self) -> Image.Image:
        """Return the photo as the model saw it."""
        from finercam.report.render import as_seen

        return as_seen(self.image, self.classifier.mean, self.classifier.std)

    def figure(self) -> Image.Image:
        """Return photo | plain CAM | Finer-CAM, with names, probabilities and gamma."""
        from finercam.report.explained import draw_explanation

        return draw_explanation(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the figure (``.png``, ``.jpg``, ``.webp``) or the maps (``.safetensors``), whole or not at all.

        The maps are ``saliency``, ``map``, ``plain`` and ``logits`` in float32, with the record as metadata.

        Raises:
            FinercamError: the suffix says neither.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".safetensors":
            import json

            from safetensors.torch import save_file

            tensors = {"saliency": self.saliency, "map": self.map, "plain": self.plain, "logits": self.logits}
            metadata = {"finercam": json.dumps(self.record(), ensure_ascii=False)}
            with whole(path) as aside:
                save_file({name: t.detach().float().cpu().contiguous() for name, t in tensors.items()}, aside, metadata)
        elif suffix in (".png", ".jpg", ".jpeg", ".webp"):
            figure = self.figure()
            with whole(path) as aside:
                figure.save(aside)
        else:
            raise FinercamError(f"cannot save as {suffix or 'a file without suffix'!r}; use .png or .safetensors")
        return path

    def record(self) -> dict[str, Any]:
        """Return everything but the maps as plain data, for a line of JSON."""
        probabilities = self.probabilities
        top = probabilities.topk(min(5, len(probabilities))).indices.tolist()
        contrast: dict[str, Any]
        if isinstance(self.contrast, Contrast):
            contrast = {
                "gamma": self.contrast.gamma,
                "against": self.contrast.against,
                "weighting": self.contrast.weighting,
                "aggregate": self.contrast.aggregate,
                "reverse": self.contrast.reverse,
            }
        else:
            contrast = {"objective": self.contrast.name}
        return {
            "image": self.source,
            "question": str(self),
            "target": self._class_record(self.target),
            "references": [self._class_record(index) for index in self.references],
            "top": [self._class_record(index) for index in top],
            **contrast,
            "method": self.method.name,
            "layer": list(self.classifier.layers),
            "model": self.classifier.name,
            "precision": self.precision,
            "empty": self.empty,
        }

    def _class_record(self, index: int) -> dict[str, Any]:
        logit = float(self.logits[index])
        return {
            "index": index,
            "name": self.classifier.class_name(index),
            "probability": float(self.probabilities[index]),
            "logit": logit if math.isfinite(logit) else None,
        }

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure().save(buffer, "png")
        return buffer.getvalue()


def explanations_from(
    evidence: GradientEvidence | ScoreEvidence,
    plain: Question,
    question: Question,
    *,
    images: Float[Tensor, "b 3 H W"],
    contrast: Contrast | Objective,
    how: Method,
    classifier: Classifier,
    precision: str,
    sources: Sequence[str | None],
    keep: bool,
) -> list[Explanation]:
    """Return one explanation per image: the question's answer and, beside it, the plain CAM's."""
    base, found = answer(evidence, plain, how), answer(evidence, question, how)
    return [
        Explanation(
            saliency=found.saliency[i],
            map=found.maps[i],
            plain=base.saliency[i],
            image=images[i],
            logits=evidence.logits[i],
            target=int(question.targets[i]),
            references=tuple(index for index in question.references[i].tolist() if index >= 0),
            contrast=contrast.part(slice(i, i + 1)),
            method=how,
            classifier=classifier,
            precision=precision,
            source=sources[i],
            evidence=evidence.image(i) if keep else None,
        )
        for i in range(len(images))
    ]
