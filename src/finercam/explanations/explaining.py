"""``explain()`` and ``saliency()``: a contrast, one look at the model, and a method together."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from finercam.contrast.contrast import Contrast
from finercam.contrast.objective import Objective
from finercam.contrast.options import Aggregate, Weighting, contrast_from, refuse_unknown
from finercam.contrast.references import Named, Targets
from finercam.data.original import Original
from finercam.data.photos import Crop, Photo, open_photo
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.explanations.answering import Collect, answer, ask, gather, gather_each, taps_of
from finercam.explanations.explanation import Explanation, explanations_from
from finercam.methods.method import Method, find_method
from finercam.models.classifier import Classifier
from finercam.models.run import Run


@overload
def explain(  # type: ignore[overload-overlap] # a path is a sequence too, of no use here
    classifier: Classifier | nn.Module | str,
    photos: Photo | Tensor,
    target: Targets = None,
    *,
    against: str | Named | None = None,
    references: int | None = None,
    gamma: float | None = None,
    weighting: Weighting | None = None,
    aggregate: Aggregate | None = None,
    reverse: bool | None = None,
    rank: str | None = None,
    contrast: Contrast | Objective | None = None,
    method: str | Method = "gradcam",
    keep: bool = False,
    collect: Collect = (),
    run: Run | None = None,
) -> Explanation: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str,
    photos: Sequence[Photo | Tensor],
    target: Targets = None,
    *,
    against: str | Named | None = None,
    references: int | None = None,
    gamma: float | None = None,
    weighting: Weighting | None = None,
    aggregate: Aggregate | None = None,
    reverse: bool | None = None,
    rank: str | None = None,
    contrast: Contrast | Objective | None = None,
    method: str | Method = "gradcam",
    keep: bool = False,
    collect: Collect = (),
    run: Run | None = None,
) -> list[Explanation]: ...
def explain(
    classifier: Classifier | nn.Module | str,
    photos: Photo | Tensor | Sequence[Photo | Tensor],
    target: Targets = None,
    *,
    against: str | Named | None = None,
    references: int | None = None,
    gamma: float | int | None = None,
    weighting: str | None = None,
    aggregate: str | None = None,
    reverse: bool | None = None,
    rank: str | None = None,
    contrast: Contrast | Objective | None = None,
    method: str | Method = "gradcam",
    keep: bool = False,
    collect: Collect = (),
    run: Run | None = None,
    **unknown: object,
) -> Explanation | list[Explanation]:
    """Explain why the classifier sees the target class and not its look-alikes.

    Args:
        classifier: a ``Classifier``, what ``finercam.load`` takes, or a bare module.
        photos: one photo (path, picture or array; a ``Crop`` of one; or a preprocessed tensor 3 H W), several, or a
            preprocessed batch b 3 H W.
        target: a class for all photos or one per photo, by name or index; the top prediction if left out.
        against, references, gamma, weighting, aggregate, reverse, rank: what is asked, as for ``Contrast``.
        contrast: what is asked, instead of these options.
        method: how it is answered: a name in ``finercam.METHODS``, with parameters if need be
            (``rise@masks=2000``).
        keep: keep the evidence, so that ``explanation.again(gamma=1)`` needs no model.
        collect: further classes to keep, by name or index, besides the target and its references; or how many of
            those with the highest logits.
        run: how the model is run: precision, photos and altered copies per pass.
        unknown: refused, with the name of the option that is meant.

    Returns:
        One explanation for one photo, a list for several.

    Raises:
        FinercamError: a photo, class, method or option cannot be used; the message says what to do.
    """
    refuse_unknown(explain, unknown, _options(explain))
    what = contrast_from(
        contrast,
        against=against,
        references=references,
        gamma=gamma,
        weighting=weighting,
        aggregate=aggregate,
        reverse=reverse,
        rank=rank,
    )
    model, how, run = as_classifier(classifier), find_method(method), run or Run()
    several = isinstance(photos, (list, tuple)) or (isinstance(photos, Tensor) and photos.ndim == 4)
    given: list[Any] = list(photos) if several else [photos]  # type: ignore[arg-type]
    each = target if isinstance(target, (list, tuple)) or (isinstance(target, Tensor) and target.ndim) else None
    if each is not None and len(each) != len(given):
        raise FinercamError(f"{len(each)} targets were given for {len(given)} photos")
    if isinstance(what, Contrast) and isinstance(what.against[0], tuple) and len(what.against) != len(given):
        raise FinercamError(f"{len(what.against)} lists of references were given for {len(given)} photos")
    found: list[Explanation] = []
    placer = Placer(model.preprocessing)
    for batch, images in _batches(model, given, run.images):
        asked = Asked(what.part(batch), target if each is None else each[batch], how)
        sources = [_source(photo) for photo in given[batch]]
        originals = [None if isinstance(photo, Tensor) else Original(photo, placer) for photo in given[batch]]
        kept = (collect if isinstance(collect, int) else list(collect)) if keep else None
        for (explanation,) in explain_batch(
            model, images, [asked], sources=sources, originals=originals, collect=kept, run=run
        ):
            found.append(explanation)
    return found if several else found[0]


def saliency(
    classifier: Classifier | nn.Module | str,
    images: Float[Tensor, "b c H W"],
    target: Targets = None,
    *,
    against: str | Named | None = None,
    references: int | None = None,
    gamma: float | int | None = None,
    weighting: str | None = None,
    aggregate: str | None = None,
    reverse: bool | None = None,
    rank: str | None = None,
    contrast: Contrast | Objective | None = None,
    method: str | Method = "gradcam",
    run: Run | None = None,
    **unknown: object,
) -> Float[Tensor, "b H W"]:
    """Return saliency maps for a batch of preprocessed images, on their device and unscaled: the short way.

    Args:
        classifier: as for ``explain``.
        images: preprocessed; all of them are looked at together.
        target: class per image or one for all, by name or index; the top prediction if left out.
        against, references, gamma, weighting, aggregate, reverse, rank, contrast, method, run: as for ``explain``.
        unknown: refused, with the name of the option that is meant.

    Raises:
        FinercamError: a class, method or option cannot be used; the message says what to do.
    """
    refuse_unknown(saliency, unknown, _options(saliency))
    what = contrast_from(
        contrast,
        against=against,
        references=references,
        gamma=gamma,
        weighting=weighting,
        aggregate=aggregate,
        reverse=reverse,
        rank=rank,
    )
    evidence, (question,) = gather(as_classifier(classifier), images, [what], target, method=method, run=run)
    return answer(evidence, question).saliency


@dataclass(frozen=True)
class Asked:
    """What is asked of a batch, and how it is to be answered.

    Attributes:
        contrast: a contrast or objective.
        targets: the class of each image, or one for all, that it is put for.
        method: what answers it.
    """

    contrast: Contrast | Objective
    targets: Targets = None
    method: str | Method = "gradcam"


def explain_batch(
    classifier: Classifier,
    images: Float[Tensor, "b c H W"],
    asked: Sequence[Asked],
    *,
    sources: Sequence[str | None],
    originals: Sequence[Original | None] | None = None,
    collect: Collect | None = None,
    run: Run | None = None,
) -> list[list[Explanation]]:
    """Explain one batch: for each image an answer to everything asked, all from one look at the model.

    Args:
        classifier, images: the model and preprocessed images.
        asked: what, and how. Beside each answer stands the same method's plain map of its target.
        sources: where the images are from.
        originals: the photos behind them, for pictures; ``None`` shows what the model was given.
        collect: as for ``gather``; ``None`` keeps no evidence.
        run: how the model is run.
    """
    methods = [find_method(one.method) for one in asked]
    with classifier.look(images, run, at=taps_of(methods, classifier)) as look:
        questions = [ask(classifier, look.logits, [one.contrast.alone, one.contrast], one.targets) for one in asked]
        gathered = gather_each(look, methods, [question for pair in questions for question in pair], collect)
    found = [
        explanations_from(
            evidence,
            *pair,
            images=images,
            contrast=one.contrast,
            facts=classifier.facts,
            classifier=classifier,
            run=run or Run(),
            sources=sources,
            originals=originals or [None] * len(images),
            keep=collect is not None,
        )
        for one, pair, evidence in zip(asked, questions, gathered, strict=True)
    ]
    return [list(of_image) for of_image in zip(*found, strict=True)]


def as_classifier(given: Classifier | nn.Module | str) -> Classifier:
    """Return a classifier for what a user calls one."""
    if isinstance(given, Classifier):
        return given
    if isinstance(given, nn.Module):
        return Classifier.of(given)
    from finercam.models import load

    return load(given)


def preprocess(classifier: Classifier, photo: Photo | Tensor) -> Float[Tensor, "c H W"]:
    """Return the photo as the model takes it. A tensor is taken to be preprocessed.

    Raises:
        FinercamError: the photo cannot be read, or the classifier has no preprocessing.
    """
    if isinstance(photo, Tensor):
        if photo.ndim != 3 or not photo.is_floating_point():
            raise FinercamError(
                f"a tensor is taken as a preprocessed image c H W of floats; this one is {photo.dtype} of shape "
                f"{tuple(photo.shape)}. Give a raw photo as a path, a PIL image or an array H W 3"
            )
        return photo
    return classifier.preprocessing(open_photo(photo))


def _options(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "unknown"]


def _batches(classifier: Classifier, photos: list[Any], most: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield runs of photos whose inputs have one shape, at most so many long."""
    start, images = 0, list[Tensor]()
    for photo in photos:
        image = preprocess(classifier, photo)
        if images and (len(images) == most or image.shape != images[0].shape):
            yield slice(start, start + len(images)), torch.stack(images)
            start, images = start + len(images), []
        images.append(image)
    if images:
        yield slice(start, start + len(images)), torch.stack(images)


def _source(photo: Any) -> str | None:
    photo = photo.photo if isinstance(photo, Crop) else photo
    if isinstance(photo, (str, os.PathLike)):
        return os.fspath(photo)
    return getattr(photo, "filename", None) if isinstance(photo, Image.Image) else None
