"""From a batch and questions to maps: one look at the model, then linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import find_class
from finercam.contrast.objective import Objective
from finercam.contrast.question import Question
from finercam.contrast.references import ClassName, Targets
from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import one_hot_rows
from finercam.methods.maps import to_saliency
from finercam.methods.method import Method, find_method
from finercam.models.classifier import Classifier
from finercam.models.facts import Facts
from finercam.models.look import Look
from finercam.models.run import Run
from finercam.models.undisturbed import exact

#: Classes that are gathered besides those in the questions, or how many of the likeliest.
Collect: TypeAlias = "Sequence[ClassName] | int"


@dataclass(frozen=True)
class Answer:
    """A question's maps for a batch.

    Attributes:
        question: what was asked.
        maps: signed, at the evidence's resolution.
        saliency: ReLU of the maps, resized to the images; not scaled to 0..1.
    """

    question: Question
    maps: Float[Tensor, "b h w"]
    saliency: Float[Tensor, "b H W"]


def answer(evidence: Evidence, question: Question) -> Answer:
    """Answer a question from evidence, without the model; ``evidence.by(method)`` has another method read it.

    Raises:
        NotCollected: the question reaches classes whose gradients were not collected.
        FinercamError: a map has values that are not finite numbers.
    """
    with exact(evidence.logits.device):
        maps = question.combine(evidence.maps(question.rows))
        bad = (~maps.isfinite()).flatten(1).any(1)
        if bool(bad.any()):
            how = "the method" if evidence.how is None else evidence.how.full_title
            raise FinercamError(
                f"the map that {how} makes for image {int(bad.nonzero()[0])} has values that are not finite numbers; "
                "use another method, or precision float32 if it was run in half precision"
            )
        return Answer(question, maps, to_saliency(maps, evidence.image_size))


def ask(
    model: Classifier | Facts,
    logits: Float[Tensor, "b C"],
    contrasts: Sequence[Contrast | Objective],
    targets: Targets = None,
) -> list[Question]:
    """Put contrasts to logits, with the model's class names and the rows of its final linear layer."""
    rows = model.rows
    with exact(logits.device):
        return [contrast.ask(logits, targets, labels=model.labels, head=rows) for contrast in contrasts]


def gather(
    classifier: Classifier,
    images: Float[Tensor, "b c H W"],
    contrasts: Sequence[Contrast | Objective],
    targets: Targets = None,
    *,
    method: str | Method = "gradcam",
    collect: Collect | None = None,
    run: Run | None = None,
) -> tuple[Evidence, list[Question]]:
    """Look at the model once and put several contrasts to the same images.

    Args:
        classifier, images: the model and preprocessed images.
        contrasts: what will be asked.
        targets: as for ``Contrast.ask``.
        method: what gathers the evidence.
        collect: ``None`` keeps gradients for these contrasts only. A sequence (it may be empty) keeps them class by
            class, for the contrasts' targets and references and the classes it names, so that other contrasts can
            be answered later; a number, for that many classes with the highest logits of each image instead. Score
            methods and the closed form always keep all classes; a method whose evidence answers no mixtures keeps
            the contrasts' own rows.
        run: how the model is run.
    """
    how = find_method(method)
    with classifier.look(images, run, at=how.taps(classifier)) as look:
        questions = ask(classifier, look.logits, contrasts, targets)
        (evidence,) = gather_each(look, [how], questions, collect)
        return evidence, questions


def gather_each(
    look: Look,
    methods: Sequence[Method],
    questions: Sequence[Question],
    collect: Collect | None = None,
) -> list[Evidence]:
    """Return each method's evidence for the same questions; methods that read one kind share what the first gathered.

    Args:
        look: at the model, opened ``at=taps_of(methods, classifier)``.
        methods: in any order.
        questions: what will be asked.
        collect: as for ``gather``.
    """
    found: list[Evidence] = []
    for how in methods:
        shared = next((own for own in found if own.how is not None and how.gathers_as(own.how)), None)
        if shared is None:
            # Classes make a contrast up only where evidence may be mixed.
            found.append(how.gather(look, _rows_for(look, questions, collect if how.spans else None)))
        else:
            found.append(shared.by(how))
    return found


def taps_of(methods: Sequence[Method], classifier: Classifier) -> tuple[str, ...]:
    """Return the layers whose gradients methods will ask for, to be named when a look is opened."""
    return tuple(dict.fromkeys(layer for how in methods for layer in how.taps(classifier)))


def _rows_for(look: Look, questions: Sequence[Question], collect: Collect | None = None) -> Float[Tensor, "b m C"]:
    """Return the rows whose evidence is to be gathered for questions.

    Args:
        look: at the model.
        questions: what will be asked.
        collect: as for ``gather``.
    """
    if collect is None:
        return _without_repeats([question.rows for question in questions])
    classifier = look.classifier
    if isinstance(collect, int):
        named = look.logits.topk(min(collect, classifier.classes)).indices
    else:
        wanted = [find_class(name, classifier.classes, classifier.labels) for name in collect]
        named = torch.tensor(wanted, dtype=torch.long, device=look.logits.device).expand(len(look.logits), -1)
    about = [torch.cat([question.targets[:, None], question.references], 1) for question in questions]
    single = one_hot_rows(_unique_classes(torch.cat([*about, named], 1)), classifier.classes, look.logits)
    return torch.cat([single, *(question.rows for question in questions if not question.by_class)], 1)


def _without_repeats(rows: Sequence[Float[Tensor, "b _r C"]]) -> Float[Tensor, "b m C"]:
    """Return all rows, those that are the same for every image once."""
    every = torch.cat(list(rows), 1)
    kept: list[int] = []
    for index, row in enumerate(every.unbind(1)):
        if not any(torch.equal(row, every[:, other]) for other in kept):
            kept.append(index)
    return every if len(kept) == every.shape[1] else every[:, kept]


def _unique_classes(classes: Tensor) -> Tensor:
    """Return classes b m without the -1 of absent references and without repeats, padded by each image's first.

    Repeats for some images only cannot be dropped from a rectangle; a repeated row does no harm.
    """
    per_image = [list(dict.fromkeys(i for i in row if i >= 0)) for row in classes.tolist()]
    width = max(map(len, per_image))
    padded = [row + [row[0]] * (width - len(row)) for row in per_image]
    return torch.tensor(padded, device=classes.device)
