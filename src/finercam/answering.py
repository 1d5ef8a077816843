"""From a batch and contrasts to maps: one look at the model, then linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast, Objective, Question
from finercam.contrast.labels import find_class
from finercam.contrast.references import ClassName, Targets
from finercam.errors import FinercamError
from finercam.methods.cams import Method, find_method, signed_maps, to_saliency
from finercam.methods.evidence import GradientEvidence, NotGathered, look, one_hot_rows
from finercam.methods.scores import ScoreEvidence, look_through_ablation, look_through_masks
from finercam.models.classifier import Classifier
from finercam.models.running import exact


@dataclass(frozen=True)
class Answer:
    """A question's maps for a batch.

    Attributes:
        question: what was asked.
        maps: signed, at the layer's resolution.
        saliency: ReLU of the maps, resized to the images; not scaled to 0..1.
    """

    question: Question
    maps: Float[Tensor, "b h w"]
    saliency: Float[Tensor, "b H W"]


def answer(
    evidence: GradientEvidence | ScoreEvidence,
    question: Question,
    method: str | Method = "gradcam",
) -> Answer:
    """Answer a question from kept evidence, without the model.

    Raises:
        NotCollected: the question reaches classes whose gradients were not collected.
        NotGathered: the method needs another kind of evidence.
    """
    how = find_method(method) if isinstance(method, str) else method
    if how.evidence != evidence.kind:
        raise NotGathered(f"{how.title} needs evidence from {how.evidence}; what was kept is from {evidence.kind}")
    with exact(evidence.logits.device):
        maps = question.combine(signed_maps(evidence, how, question.rows))
        return Answer(question, maps, to_saliency(maps, evidence.image_size))


def ask(
    classifier: Classifier, logits: Float[Tensor, "b C"], contrasts: Sequence[Contrast | Objective], targets: Targets
) -> list[Question]:
    """Put contrasts to a classifier's logits, with its class names and the rows of its final linear layer."""
    rows = classifier.rows
    with exact(logits.device):
        return [contrast.ask(logits, targets, labels=classifier.labels, head=rows) for contrast in contrasts]


def gather(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    contrasts: Sequence[Contrast | Objective],
    targets: Targets = None,
    *,
    method: str | Method = "gradcam",
    collect: Sequence[ClassName] | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> tuple[GradientEvidence | ScoreEvidence, list[Question]]:
    """Look at the model once and put several contrasts to the same images.

    Args:
        classifier, images: the model and preprocessed images.
        contrasts: what will be asked.
        targets: as for ``Contrast.ask``.
        method: whose kind of evidence is gathered.
        collect: ``None`` keeps gradients for these contrasts only. A sequence (it may be empty) keeps them class by
            class, for the contrasts' targets and references and the classes it names, so that other contrasts can
            be answered later. Score methods and the closed form always keep all classes.
        precision: of the model's run.
        batch_size: altered copies per run of score methods.
    """
    how = find_method(method) if isinstance(method, str) else method
    if not len(images):
        raise FinercamError("there are no images in the batch")
    asked: list[Question] = []

    def rows(logits: Tensor) -> Tensor:
        asked.extend(ask(classifier, logits, contrasts, targets))
        if collect is None:
            return _without_repeats([question.rows for question in asked])
        wanted = [find_class(name, classifier.classes, classifier.labels) for name in collect]
        classes = torch.cat([
            *(q.targets[:, None] for q in asked),
                # The plain CAM has none, whatever is similar to its target.
                *(q.references for q, what in zip(asked, contrasts, strict=True) if what is not PLAIN),
            torch.tensor(wanted, dtype=torch.long, device=logits.device).expand(len(logits), -1),
        ], 1)  # fmt: skip
        single = one_hot_rows(_unique_classes(classes), classifier.classes, logits)
        functions = [q.rows for q, c in zip(asked, contrasts, strict=True) if isinstance(c, Objective)]
        return torch.cat([single, *functions], 1)

    evidence: GradientEvidence | ScoreEvidence
    if how.evidence == "gradients":
        evidence = look(classifier, images, rows, precision=precision)
    elif how.evidence == "masks":
        evidence = look_through_masks(classifier, images, precision=precision, batch_size=batch_size)
    else:
        evidence = look_through_ablation(classifier, images, precision=precision, batch_size=batch_size)
    return evidence, asked or ask(classifier, evidence.logits, contrasts, targets)


def saliency(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    targets: Targets = None,
    contrast: Contrast | Objective | None = None,
    *,
    method: str = "gradcam",
    precision: str = "float32",
    batch_size: int | None = None,
) -> Float[Tensor, "b H W"]:
    """Return saliency maps for a batch of preprocessed images, on their device and unscaled: the short way.

    Args:
        classifier, images: the model and preprocessed images.
        targets: class per image or one for all, by name or index; the top prediction if left out.
        contrast: what is asked; Finer-CAM against the three most similar classes if left out.
        method: how it is answered, a name in ``finercam.METHODS``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        batch_size: altered copies per run of score methods.
    """
    what = Contrast() if contrast is None else contrast
    evidence, (question,) = gather(
        classifier, images, [what], targets, method=method, precision=precision, batch_size=batch_size
    )
    return answer(evidence, question, method).saliency


def _without_repeats(rows: Sequence[Float[Tensor, "b _r C"]]) -> Float[Tensor, "b m C"]:
    """Return all rows, those that are the same for every image once."""
    kept: list[Tensor] = []
    for row in torch.cat(list(rows), 1).unbind(1):
        if not any(torch.equal(row, other) for other in kept):
            kept.append(row)
    return torch.stack(kept, 1)


def _unique_classes(classes: Tensor) -> Tensor:
    """Return classes b m without the -1 of absent references and without repeats, padded by each image's first.

    Repeats for some images only cannot be dropped from a rectangle; a repeated row does no harm.
    """
    per_image = [list(dict.fromkeys(i for i in row if i >= 0)) for row in classes.tolist()]
    width = max(map(len, per_image))
    padded = [row + [row[0]] * (width - len(row)) for row in per_image]
    return torch.tensor(padded, device=classes.device)
