"""All maps of a batch from one look at the model, in the order of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.contrast import COMPARED, Contrast
from finercam.contrast.question import Question
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.evidence import Evidence
from finercam.methods.method import Method
from finercam.metrics.controls import with_noise
from finercam.metrics.view import RANDOM_CLASS, REVERSED, Asked, OtherMap
from finercam.models.look import Look
from finercam.studies.evaluate.contrasts import PLAIN_NAME, contrast_name

#: A base map to the power of three: what rewards mere sharpening rewards it.
CUBED: Final = f"{PLAIN_NAME}, cubed"
#: A base map with a tenth of its peak in noise added to each pixel: what rewards scatter rewards it.
NOISY: Final = f"{PLAIN_NAME}, noisy"
#: The same question about a class chosen at random, and the other way round: what rewards any edges rewards these.
ASKED_OTHERWISE: Final = (RANDOM_CLASS, REVERSED)
#: The contrast of a control that knows nothing of the network.
CONTROL: Final = "control"


def is_control(contrast: str) -> bool:
    """Return whether rows of this contrast are there to be beaten, not to win."""
    return contrast in (CONTROL, CUBED, NOISY) or contrast.endswith(tuple(f", {one.name}" for one in ASKED_OTHERWISE))


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
        others: for each contrast, further questions by the name under which metrics know them.
        read: the names of those that metrics read.
    """

    named: tuple[tuple[str, Question], ...]
    others: Mapping[str, Mapping[str, Question]]
    read: tuple[str, ...]

    @classmethod
    def about(
        cls,
        look: Look,
        contrasts: Sequence[Contrast],
        others: Sequence[OtherMap],
        targets: Int[Tensor, " b"],
        compared: Int[Tensor, " b"],
        drawn: Int[Tensor, " b"] | None,
    ) -> Questions:
        """Put contrasts, and other maps that metrics and controls need, to the images of a look.

        Args:
            look: at the images.
            contrasts: asked about the targets.
            others: what metrics ask beside them.
            targets, compared, drawn: class c, class d and a class chosen at random of each image.
        """
        made: dict[tuple[Contrast, int], Question] = {}

        def put(contrast: Contrast, about: Tensor) -> Question:
            # Many contrasts ask the same other question.
            if (contrast, id(about)) not in made:
                made[contrast, id(about)] = ask(look.classifier, look.logits, [contrast], about)[0]
            return made[contrast, id(about)]

        named, further = [], {}
        for contrast in contrasts:
            name, own = contrast_name(contrast), contrast
            if contrast.against == COMPARED:
                own = replace(contrast, against=compared[:, None].tolist(), references=1)
            named.append((name, put(own, targets)))
            asked = Asked(own, look.logits, targets, compared, drawn)
            wanted = {other.name: other.asks(asked) for other in (*others, *ASKED_OTHERWISE)}
            further[name] = {other: put(*found) for other, found in wanted.items() if found is not None}
        return cls(tuple(named), further, tuple(other.name for other in others))

    @property
    def every(self) -> list[Question]:
        """All questions, each once."""
        found = [*(question for _, question in self.named), *(q for own in self.others.values() for q in own.values())]
        return list({id(question): question for question in found}.values())


def draw_classes(
    ids: Sequence[int], targets: Int[Tensor, " b"], others: Int[Tensor, " b"], classes: int, taken: Sequence[int]
) -> Int[Tensor, " b"] | None:
    """Return a class of each image, drawn by lot: neither class c nor d, nor one that is taken.

    ``None`` where there may be none left, so that all images of a run have one or none has.

    Args:
        ids: numbers of the images in the data; each has its own lot, whatever batch it is in.
        targets, others: class c and class d.
        classes: how many there are.
        taken: classes that contrasts name.
    """
    if classes - len(set(taken)) - 2 < 1:
        return None
    drawn = []
    for number, target, other in zip(ids, targets.tolist(), others.tolist(), strict=True):
        order = torch.randperm(classes, generator=torch.Generator().manual_seed(number)).tolist()
        drawn.append(next(one for one in order if one not in (target, other, *taken)))
    return torch.tensor(drawn, device=targets.device)


def gathered(look: Look, ways: Sequence[Method], questions: Questions) -> list[Evidence]:
    """Return each method's evidence; methods that read the same kind share what the first of them gathered."""
    return gather_each(look, ways, questions.every, collect=[])


def maps_of(evidence: Evidence, questions: Questions, ids: Sequence[int], *, controls: bool = True) -> Iterator[Map]:
    """Yield a method's maps, one for each contrast, and then their controls.

    Those are the base map cubed and with noise, and the first comparison (or, where there is none, the base) asked of
    a class chosen at random and reversed.

    Args:
        evidence: the method's.
        questions: what is asked.
        ids: numbers of the images in the data, which the noise depends on.
        controls: whether these are wanted.
    """
    assert evidence.how is not None
    spec = evidence.how.spec
    known: dict[int, Tensor] = {}

    def map_of(question: Question) -> Float[Tensor, "b H W"]:
        if id(question) not in known:
            known[id(question)] = answer(evidence, question).saliency
        return known[id(question)]

    for name, question in questions.named:
        answers = {other: map_of(q) for other, q in questions.others[name].items() if other in questions.read}
        yield Map(spec, name, map_of(question), answers)
    if not controls:
        return
    bases = [map_of(question) for name, question in questions.named if name == PLAIN_NAME]
    for base in bases:
        # In float64, where the cubes of different float32 numbers differ: the order stays as it is.
        yield Map(spec, CUBED, base.double().pow(3))
        yield Map(spec, NOISY, with_noise(base, ids))
    main = next((name for name, _ in questions.named if name != PLAIN_NAME), PLAIN_NAME)
    for other in ASKED_OTHERWISE:
        if other.name in questions.others[main]:
            yield Map(spec, f"{main}, {other.name}", map_of(questions.others[main][other.name]))
