"""All maps of a batch from one look at the model, in the order of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.contrast import Contrast
from finercam.contrast.question import Question
from finercam.contrast.references import nearest_references
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.evidence import Evidence
from finercam.methods.method import Method
from finercam.metrics.view import OtherMap
from finercam.models.look import Look
from finercam.studies.evaluate.contrasts import PLAIN_NAME, contrast_name

#: A base map to the power of three: what rewards mere sharpening rewards it.
CUBED = "plain, cubed"


@dataclass(frozen=True, eq=False)
class Map:
    """One map of each image of a batch.

    Attributes:
        method: a method's spec, or a control's name.
        contrast: ``plain``, ``finer ...``, or what kind of map it is.
        saliency: the maps.
        answers: to other questions by the same method, by name, where metrics ask for them.
    """

    method: str
    contrast: str
    saliency: Float[Tensor, "b H W"]
    answers: Mapping[str, Float[Tensor, "b H W"]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Questions:
    """What is asked of a batch.

    Attributes:
        named: each contrast's name in rows, and its question about class c.
        others: further questions, by the name under which metrics know them.
    """

    named: tuple[tuple[str, Question], ...]
    others: Mapping[str, Question]

    @classmethod
    def about(
        cls,
        look: Look,
        contrasts: Sequence[Contrast],
        others: Sequence[OtherMap],
        targets: Int[Tensor, " b"],
        compared: Int[Tensor, " b"],
    ) -> Questions:
        """Put contrasts, and other maps that metrics need, to the images of a look.

        Args:
            look: at the images.
            contrasts: asked about the targets.
            others: what else is asked.
            targets, compared: class c and class d of each image.
        """
        named = zip(map(contrast_name, contrasts), ask(look.classifier, look.logits, contrasts, targets), strict=True)
        return cls(
            tuple(named),
            {
                other.name: ask(
                    look.classifier, look.logits, [other.contrast], other.of(look.logits, targets, compared)
                )[0]
                for other in others
            },
        )


def others_of(logits: Float[Tensor, "b C"], targets: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Return the class d of the relative drop: the one whose logit is nearest to the target's, unmasked."""
    return nearest_references("similar", 1, targets, logits, None)[:, 0]


def gathered(look: Look, ways: Sequence[Method], questions: Questions) -> list[Evidence]:
    """Return each method's evidence; methods that read the same kind share what the first of them gathered."""
    every = [*(question for _, question in questions.named), *questions.others.values()]
    return gather_each(look, ways, every, collect=[])


def maps_of(evidence: Evidence, questions: Questions) -> Iterator[Map]:
    """Yield a method's maps, one for each contrast, and the cubed base right behind the base."""
    assert evidence.how is not None
    spec = evidence.how.spec
    answers = {name: answer(evidence, question).saliency for name, question in questions.others.items()}
    for name, question in questions.named:
        saliency = answer(evidence, question).saliency
        yield Map(spec, name, saliency, answers)
        if name == PLAIN_NAME:
            # In float64, where the cubes of different float32 numbers differ: the order stays as it is.
            yield Map(spec, CUBED, saliency.double().pow(3))
