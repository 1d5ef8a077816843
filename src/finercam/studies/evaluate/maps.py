"""All maps of a batch from one look at the model, and the controls they are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.contrast.references import nearest_references
from finercam.explanations.answering import answer, ask, gather
from finercam.methods.gradients import GradientEvidence
from finercam.methods.method import find_method
from finercam.methods.scores import ScoreEvidence
from finercam.models import Classifier
from finercam.studies.evaluate.plan import PLAIN_NAME, Plan, contrast_name

#: The contrast of a control's rows.
CONTROL = "control"
#: A base map to the power of three: what rewards mere sharpening rewards it.
CUBED = "plain, cubed"
#: Cells along each side of the control that is as coarse as a CAM.
_COARSE = 7


@dataclass(frozen=True)
class Map:
    """One map of each image of a batch.

    Attributes:
        method: a CAM method's name, or a control's.
        contrast: ``plain``, ``finer ...``, or what kind of control it is.
        saliency: the maps.
        of_other: those of the other class by the same method, where that was asked for.
    """

    method: str
    contrast: str
    saliency: Float[Tensor, "b H W"]
    of_other: Float[Tensor, "b H W"] | None = None


#: What the model showed, by the kind of evidence that methods ask for.
Evidence = Mapping[str, GradientEvidence | ScoreEvidence]


def first_look(
    classifier: Classifier, images: Float[Tensor, "b 3 H W"], plan: Plan, targets: Sequence[int] | None
) -> GradientEvidence:
    """Run the model once and keep what all gradient methods need for all contrasts.

    Score methods begin from here too: which images they explain depends on these logits.
    """
    # The most similar class is what the relative drop compares with, whatever the contrasts' references are.
    nearest = Contrast(references=1, gamma=1.0)
    evidence, _ = gather(classifier, images, [*plan.contrasts, nearest], targets, collect=[], precision=plan.precision)
    assert isinstance(evidence, GradientEvidence)
    return evidence


def second_looks(
    classifier: Classifier, images: Float[Tensor, "b 3 H W"], plan: Plan, targets: Int[Tensor, " b"]
) -> dict[str, ScoreEvidence]:
    """Run the altered copies that the plan's score methods need, once for methods of one kind."""
    found: dict[str, ScoreEvidence] = {}
    for how in map(find_method, plan.methods):
        if how.evidence != "gradients" and how.evidence not in found:
            evidence, _ = gather(
                classifier, images, [PLAIN], targets, method=how, precision=plan.precision, batch_size=plan.copies
            )
            assert isinstance(evidence, ScoreEvidence)
            found[how.evidence] = evidence
    return found


def others_of(logits: Float[Tensor, "b C"], targets: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Return the class d of the relative drop: the one whose logit is nearest to the target's, unmasked."""
    return nearest_references("similar", 1, targets, logits, None)[:, 0]


def maps_of(
    classifier: Classifier,
    evidence: Evidence,
    plan: Plan,
    targets: Int[Tensor, " b"],
    others: Int[Tensor, " b"],
    *,
    compare_classes: bool = False,
) -> Iterator[Map]:
    """Yield the maps of every method and contrast, and each method's cubed base right behind the base.

    Args:
        classifier, plan: what is explained.
        evidence: of ``first_look`` and ``second_looks``.
        targets, others: class c and class d of each image.
        compare_classes: whether the other class's plain map is wanted too.
    """
    for name in plan.methods:
        how = find_method(name)
        kept = evidence[how.evidence]
        of_other = None
        if compare_classes:
            (question,) = ask(classifier, kept.logits, [PLAIN], others)
            of_other = answer(kept, question, how).saliency
        for contrast, question in zip(
            plan.contrasts, ask(classifier, kept.logits, plan.contrasts, targets), strict=True
        ):
            saliency = answer(kept, question, how).saliency
            found = contrast_name(contrast)
            yield Map(name, found, saliency, of_other)
            if found == PLAIN_NAME:
                # In float64, where the cubes of different float32 numbers differ: the order stays as it is.
                yield Map(name, CUBED, saliency.double().pow(3))


def controls(ids: Sequence[int], size: tuple[int, int]) -> Iterator[Map]:
    """Yield maps that know nothing of the network, which any method must beat.

    Args:
        ids: numbers of the images in the run; each has its own noise, whatever batch it is in.
        size: height and width.
    """
    generators = [torch.Generator().manual_seed(number) for number in ids]
    yield Map("random", CONTROL, torch.stack([torch.rand(size, generator=g) for g in generators]))
    coarse = torch.stack([torch.rand(1, _COARSE, _COARSE, generator=g) for g in generators])
    blurred = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)[:, 0]
    yield Map("blurred random", CONTROL, blurred)
    ys, xs = (torch.linspace(-1, 1, length) for length in size)
    centre = torch.exp(-2 * (ys[:, None] ** 2 + xs**2))
    yield Map("centre", CONTROL, centre.expand(len(ids), -1, -1).contiguous())
