"""Do a classifier's maps depend on the class that is asked about, and on what the network has learned?

Both checks compare maps of one image with each other; neither knows what a good map looks like, and a map of pure
noise passes both. They are there to be failed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.contrast.objective import Objective
from finercam.contrast.question import Question
from finercam.contrast.references import Targets
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, gather
from finercam.methods.gradients import GradientEvidence, forward, look
from finercam.methods.method import Method, find_method
from finercam.methods.scores import ScoreEvidence
from finercam.metrics.correlation import correlation, rank_correlation
from finercam.metrics.intervals import Mean, bootstrap_mean
from finercam.models import Classifier
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed
from finercam.studies.randomising import randomised, weighted_layers


@dataclass(frozen=True)
class ClassRow:
    """One image, the maps of two classes.

    Attributes:
        index: of the image.
        target, other: the two classes.
        ranks, values: Spearman's and Pearson's correlation of their saliency, -1 to 1; NaN where one is constant.
        signed: Spearman's correlation of their signed maps, at the layer's resolution.
        empty: whether either saliency is zero.
    """

    index: int
    target: int
    other: int
    ranks: float
    values: float
    signed: float
    empty: bool


def class_sensitivity(
    classifier: Classifier,
    images: Float[Tensor, "n 3 H W"],
    contrast: Contrast = PLAIN,
    method: str = "gradcam",
    *,
    targets: Targets = None,
    others: Targets = None,
    batch_size: int = 16,
) -> list[ClassRow]:
    """Return how alike the maps of a class and of another one are for the same image: the lower, the better.

    The contrast is put twice, for each class as the target. References that are chosen (``similar`` ...) are chosen
    for each, so that each is as a rule held against the other. A contrast therefore lowers the likeness by
    construction: with gamma 1 and no other reference, signed maps of a linear method are each other's negative.

    Args:
        classifier, images: the model and preprocessed images.
        contrast, method: what is asked and how it is answered.
        targets: class c, as for ``gather``; the top prediction if left out.
        others: class d, likewise; the class whose logit is nearest to the target's if left out.
        batch_size: images per run.
    """
    how = find_method(method)
    rows: list[ClassRow] = []
    for some in _batches(images, batch_size):
        logits = _logits(classifier, images[some])
        (nearest,) = ask(classifier, logits, [Contrast(references=1)], _part(targets, some))
        c = nearest.targets
        d = nearest.references[:, 0]
        if others is not None:
            d = ask(classifier, logits, [PLAIN], _part(others, some))[0].targets
        questions = [ask(classifier, logits, [contrast.part(some)], each)[0] for each in (c, d)]
        first, second = _maps(classifier, images[some], questions, how)
        rows += [
            ClassRow(some.start + i, int(c[i]), int(d[i]), *alike, empty=first.empty(i) or second.empty(i))
            for i, alike in enumerate(_alike(first, second))
        ]
    return rows


@dataclass(frozen=True)
class RandomisedRow:
    """One image, its map before and after a layer was made random.

    Attributes:
        layer: the one made random last, ``(itself)`` for weights the module has beside those of its parts.
        index: of the image.
        ranks, values: Spearman's and Pearson's correlation of the two saliencies, -1 to 1; NaN where one is constant.
        signed: Spearman's correlation of the two signed maps, at the layer's resolution. A random network often
            speaks against the target everywhere: the saliency is then empty, the signed map still compares.
        empty: whether the saliency of the randomised network is zero.
    """

    layer: str
    index: int
    ranks: float
    values: float
    signed: float
    empty: bool


def randomisation(
    classifier: Classifier,
    images: Float[Tensor, "n 3 H W"],
    contrast: Contrast | Objective | None = None,
    method: str = "gradcam",
    *,
    targets: Targets = None,
    layers: Sequence[str] | None = None,
    order: str = "top-down",
    redraw: str = "shuffle",
    seed: int = 0,
    samples: int = 0,
    noise: float = 0.1,
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda done: None,
) -> list[RandomisedRow]:
    """Return how alike each image's map is to that of the network with layers made random: the lower, the better.

    MPRT (arXiv 1810.03292), or with ``samples`` sMPRT (arXiv 2401.06465); see ``finercam.studies.randomising``. The
    question stays the same row of coefficients throughout: targets and references are those of the intact network,
    as random logits would name others. The classifier is not changed.

    Args:
        classifier, images: the model and preprocessed images.
        contrast, method: what is asked and how it is answered; Finer-CAM if left out.
        targets: as for ``gather``; the top prediction if left out.
        layers: dotted names from the input to the output; all with weights, as they run, if left out.
        order, redraw, seed: as for ``finercam.studies.randomising.randomised``.
        samples: maps are the mean over so many noisy copies of each image; 0 takes the image as it is.
        noise: standard deviation of that noise, as a share of the image's range of values.
        batch_size: images per run.
        advance: called with the number of layers done, for a progress bar.

    Raises:
        FinercamError: an option or layer cannot be used; or the randomised network's answer is not a number.
    """
    if samples < 0:
        raise FinercamError(f"samples is {samples}; it must be at least 0, which takes the image as it is")
    how = find_method(method)
    what = Contrast() if contrast is None else contrast
    parts = _batches(images, batch_size)
    questions = [
        ask(classifier, _logits(classifier, images[some]), [what.part(some)], _part(targets, some))[0] for some in parts
    ]

    def maps(model: Classifier) -> _Maps:
        batches = []
        for some, question in zip(parts, questions, strict=True):
            copies = [images[some]]
            if samples:
                copies = [_noisy(images, some, noise, seed, sample) for sample in range(samples)]
            found = [_maps(model, each, [question], how)[0] for each in copies]
            batches.append(_Maps(*(torch.stack(one).mean(0) for one in zip(*found, strict=True))))
        return _Maps(*(torch.cat(one) for one in zip(*batches, strict=True)))

    intact = maps(classifier)
    names = running_order(classifier) if layers is None else layers
    rows: list[RandomisedRow] = []
    for layer, module in randomised(classifier.module, names, order=order, redraw=redraw, seed=seed):
        found = maps(_around(classifier, module))
        rows += [
            RandomisedRow(layer or "(itself)", index, *alike, empty=found.empty(index))
            for index, alike in enumerate(_alike(intact, found))
        ]
        advance(1)
    return rows


@dataclass(frozen=True)
class RandomisedSummary:
    """A layer's line in the table: means over images where neither map is constant, and the share of empty ones.

    The intervals are over images, for this one draw of random weights: another ``seed`` may lie outside of them.
    """

    layer: str
    ranks: Mean
    values: Mean
    signed: Mean
    empty: float


def summarise(rows: Sequence[RandomisedRow]) -> list[RandomisedSummary]:
    """Return one summary per layer, in the order of the rows."""
    by_layer: dict[str, list[RandomisedRow]] = {}
    for row in rows:
        by_layer.setdefault(row.layer, []).append(row)
    return [
        RandomisedSummary(
            layer,
            _mean(row.ranks for row in own),
            _mean(row.values for row in own),
            _mean(row.signed for row in own),
            sum(row.empty for row in own) / len(own),
        )
        for layer, own in by_layer.items()
    ]


def running_order(classifier: Classifier) -> list[str]:
    """Return the names of all layers with weights, in the order in which they begin to run.

    A layer that does not run as a module (its parent reads its weights, or it is for training only) follows the
    innermost one around it that does.
    """
    module = copy.deepcopy(classifier.module)
    began: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(part: nn.Module, args: Any) -> None:
            began.setdefault(name, len(began))

        return hook

    for name, part in module.named_modules():
        part.register_forward_pre_hook(note(name))
    noise = torch.randn(1, 3, *classifier.image_size, generator=torch.Generator().manual_seed(0))
    with undisturbed(module):
        forward_pass(module, classifier.take(noise), "float32")

    def start(name: str) -> int:
        while name not in began:
            name = name.rpartition(".")[0]
        return began[name]

    return sorted(weighted_layers(module), key=start)


def _around(classifier: Classifier, module: nn.Module) -> Classifier:
    """Return the classifier with a copy of its module in the module's place: same layers, grids and names.

    Not built anew: what a random network does on noise says nothing about where its maps are.
    """
    other = copy.copy(classifier)
    object.__setattr__(other, "module", module)
    if classifier.head is not None:
        names = [name for name, part in classifier.module.named_modules() if part is classifier.head]
        object.__setattr__(other, "head", module.get_submodule(names[0]))
    return other


def _logits(classifier: Classifier, images: Tensor) -> Float[Tensor, "b C"]:
    with undisturbed(classifier.module):
        return forward(classifier, classifier.take(images), precision="float32")[0]


def _batches(images: Tensor, batch_size: int) -> list[slice]:
    if batch_size < 1 or not len(images):
        raise FinercamError(f"{len(images)} images in batches of {batch_size}: there must be at least 1 of each")
    return [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]


def _part(targets: Targets, some: slice) -> Targets:
    return targets[some] if isinstance(targets, (list, tuple, Tensor)) else targets


class _Maps(NamedTuple):
    """A question's answers: saliency and signed maps."""

    saliency: Float[Tensor, "b H W"]
    signed: Float[Tensor, "b h w"]

    def empty(self, image: int) -> bool:
        return float(self.saliency[image].amax()) <= 0


def _maps(classifier: Classifier, images: Tensor, questions: Sequence[Question], how: Method) -> list[_Maps]:
    """Return the answers to the questions as they stand, whatever the model's logits are now."""
    evidence: GradientEvidence | ScoreEvidence
    if how.evidence == "gradients":
        evidence = look(classifier, images, lambda logits: torch.cat([q.rows for q in questions], 1))
    else:
        evidence, _ = gather(classifier, images, [PLAIN], method=how)
    answers = [answer(evidence, question, how) for question in questions]
    return [_Maps(each.saliency, each.maps) for each in answers]


def _alike(first: _Maps, second: _Maps) -> list[tuple[float, float, float]]:
    """Return, for each image, the correlations a row holds."""
    found = (
        rank_correlation(first.saliency, second.saliency),
        correlation(first.saliency, second.saliency),
        rank_correlation(first.signed, second.signed),
    )
    return list(zip(*(one.tolist() for one in found), strict=True))


def _mean(values: Iterable[float]) -> Mean:
    return bootstrap_mean(torch.tensor(list(values), dtype=torch.float64))


def _noisy(images: Tensor, some: slice, noise: float, seed: int, sample: int) -> Tensor:
    """Return noisy copies of some images; each image's noise is its own, however images are put into batches."""
    copies = []
    for index in range(*some.indices(len(images))):
        image = images[index]
        generator = torch.Generator().manual_seed(((seed * 1_000_003 + index) * 1_000_003 + sample) % 2**63)
        drawn = torch.randn(image.shape, generator=generator, dtype=torch.float32).to(image)
        copies.append(image + noise * (image.amax() - image.amin()) * drawn)
    return torch.stack(copies)
