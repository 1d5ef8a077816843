"""Where a concept is in a photo: a prompt against a base prompt (arXiv 2501.11309, Sections 3.3 and C.2).

The classifier is one made of words (``finercam.models.text``). Its logit for "red epaulets" alone also grows
with all that makes the photo one of a bird; ``y_concept - gamma * y_base`` with the base "bird" takes that out.

>>> classifier = text("open_clip/ViT-B-16/laion400m_e32", ["red epaulets", "bird"], templates=BARE)
>>> found = find_concepts(classifier, images, ["red epaulets"], "bird")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.answering import answer, gather
from finercam.contrast.contrast import Objective, Question
from finercam.contrast.labels import find_class
from finercam.errors import FinercamError
from finercam.methods.cams import Method, find_method
from finercam.methods.evidence import forward
from finercam.metrics.masking import ranking, top_count
from finercam.models.classifier import Classifier
from finercam.models.running import exact, undisturbed

#: How much of a photo is hidden: the larger of the two shares of pixels that the paper masks (Section 4.2).
FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class FoundConcept:
    """A concept looked for in one photo.

    Attributes:
        saliency: of the concept against the base, ReLU of the map at the size of the input; not scaled to 0..1.
        map: signed, at the layer's resolution.
        plain: saliency of the concept alone, the same method without the comparison.
        image: what the model was given.
        concept, base: the prompts.
        similarity, base_similarity: cosines of the image's embedding and the prompts', -1 to 1.
        same: whether the prompts are one and the same to the model.
        gamma, method, classifier, precision: what was asked, how, and of whom.
        source: the photo's path, where it has one.
    """

    saliency: Float[Tensor, "H W"]
    map: Float[Tensor, "h w"]
    plain: Float[Tensor, "H W"]
    image: Float[Tensor, "3 H W"] = field(repr=False)
    concept: str
    base: str
    similarity: float
    base_similarity: float
    same: bool
    gamma: float
    method: Method
    classifier: Classifier = field(repr=False)
    precision: str = "float32"
    source: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing speaks for the concept against the base: the saliency is zero everywhere."""
        return float(self.saliency.max()) <= 0

    @property
    def why_empty(self) -> str:
        """Return the reason in a few words, for picture and terminal; nothing where the map is not empty."""
        if not self.empty:
            return ""
        if self.same and self.gamma >= 1:
            return "empty: concept and base are the same"
        return "empty: nothing speaks for it"

    def __str__(self) -> str:
        return f"{self.concept}, against {self.base}, gamma {self.gamma:g}"

    def record(self) -> dict[str, Any]:
        """Return everything but the maps as plain data, for a line of JSON."""
        return {
            "image": self.source,
            "question": str(self),
            "concept": {"text": self.concept, "similarity": self.similarity},
            "base": {"text": self.base, "similarity": self.base_similarity},
            "same": self.same,
            "gamma": self.gamma,
            "method": self.method.name,
            "layer": list(self.classifier.layers),
            "model": self.classifier.name,
            "precision": self.precision,
            "empty": self.empty,
        }


@dataclass(frozen=True, eq=False)
class Hidden:
    """A photo with a concept masked out, and what the model makes of it.

    Attributes:
        image: as preprocessed; hidden pixels have the mean colour, 0 after normalisation.
        mask: the pixels hidden.
        similarity, base_similarity: cosines of what is left and the prompts.
    """

    image: Float[Tensor, "3 H W"]
    mask: Bool[Tensor, "H W"]
    similarity: float
    base_similarity: float


def find_concepts(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    concepts: Sequence[str],
    base: str,
    *,
    gamma: float | int = 0.6,
    method: str | Method = "gradcam",
    precision: str = "float32",
    batch_size: int | None = None,
    sources: Sequence[str | None] | None = None,
) -> list[list[FoundConcept]]:
    """Look for concepts in a batch: for each image, one answer per concept, all from one look at the model.

    Args:
        classifier: made by ``finercam.models.text`` with the concepts and the base among its names.
        images: preprocessed.
        concepts, base: names among the classifier's. A concept may be the base: with gamma 1 nothing is left.
        gamma: comparison strength; 0 is the concept alone.
        method: a name in ``finercam.METHODS``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        batch_size: altered copies per run of score methods.
        sources: the photos' paths.

    Raises:
        FinercamError: a name the classifier does not have, a strength that is no number, a classifier not of words.
    """
    if not math.isfinite(gamma):
        raise FinercamError(f"gamma is {gamma}; it must be a finite number")
    how = find_method(method) if isinstance(method, str) else method
    b = _row_of(classifier, base)
    rows = [_row_of(classifier, concept) for concept in concepts]
    asked = [_difference(c, b, strength) for c in rows for strength in (0.0, gamma)]
    evidence, questions = gather(classifier, images, asked, method=how, precision=precision, batch_size=batch_size)
    cosines = _cosines(classifier, evidence.logits)
    found: list[list[FoundConcept]] = [[] for _ in images]
    for number, (concept, c) in enumerate(zip(concepts, rows, strict=True)):
        alone, against = (answer(evidence, question, how) for question in questions[2 * number : 2 * number + 2])
        # Where no class has a coefficient nothing is asked. Score-CAM's softmax would answer all the same.
        void = _asks_nothing(questions[2 * number + 1])
        for i in range(len(images)):
            found[i].append(
                FoundConcept(
                    saliency=torch.zeros_like(against.saliency[i]) if void else against.saliency[i],
                    map=torch.zeros_like(against.maps[i]) if void else against.maps[i],
                    plain=alone.saliency[i],
                    image=images[i],
                    concept=concept,
                    base=base,
                    similarity=float(cosines[i, c]),
                    base_similarity=float(cosines[i, b]),
                    same=c == b,
                    gamma=float(gamma),
                    method=how,
                    classifier=classifier,
                    precision=precision,
                    source=None if sources is None else sources[i],
                )
            )
    return found


def hide(found: FoundConcept, saliency: Float[Tensor, "H W"], fraction: float = FRACTION) -> Hidden:
    """Mask a concept out: the most salient pixels get the mean colour, and the model looks at what is left.

    Args:
        found: whose photo it is.
        saliency: whose pixels are hidden: the contrast's (``found.saliency``) or the concept's alone
            (``found.plain``).
        fraction: of the photo's pixels to hide, at most; ties go by pixel order. A pixel whose saliency is zero is
            not hidden, so an empty map hides nothing.
    """
    classifier = found.classifier
    count = top_count(fraction, saliency.numel())
    mask = (ranking(saliency[None])[0] < count) & (saliency > 0)
    image = torch.where(mask.to(found.image.device), 0.0, found.image)
    with undisturbed(classifier.module):
        logits, _ = forward(classifier, classifier.take(image[None]), precision=found.precision)
    (cosines,) = _cosines(classifier, logits)
    c, b = (_row_of(classifier, name) for name in (found.concept, found.base))
    return Hidden(image, mask, float(cosines[c]), float(cosines[b]))


def _row_of(classifier: Classifier, name: str) -> int:
    """Return the first class with the very row that the name's class has: prompts may be the same to the model."""
    if classifier.rows is None:
        raise FinercamError(
            f"concepts need a classifier of words, finercam.models.text(...); {classifier.name} has none"
        )
    row = classifier.rows[find_class(name, classifier.classes, classifier.labels)]
    return int((classifier.rows == row).all(1).nonzero()[0])


def _difference(c: int, b: int, strength: float | int) -> Objective:
    # Not a Contrast: there the target never is its own reference, here concept and base may be the same.
    return Objective(lambda logits: logits[:, c] - strength * logits[:, b], f"{c} against {b}")


def _asks_nothing(question: Question) -> bool:
    return not bool(question.rows.any())


def _cosines(classifier: Classifier, logits: Float[Tensor, "b C"]) -> Float[Tensor, "b C"]:
    """Return ``(logits - bias) / scale``: the rows are unit embeddings times the scale."""
    head = classifier.head
    assert head is not None
    with exact(logits.device):
        shifted = logits if head.bias is None else logits - head.bias.detach().to(logits)
        return shifted / head.weight.detach().norm(dim=1).to(logits)
