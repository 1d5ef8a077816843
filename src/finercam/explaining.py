"""``explain()``: a contrast, one look at the model, and a CAM method together; and what a user then holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from finercam.answering import gather
from finercam.contrast.contrast import PLAIN, Contrast, Objective
from finercam.contrast.references import ClassName, Targets
from finercam.data.photos import Photo, open_photo
from finercam.errors import FinercamError
from finercam.explanation import Explanation, explanations_from
from finercam.methods.cams import Method, find_method
from finercam.models.classifier import Classifier


@overload
def explain(
    classifier: Classifier | nn.Module | str, photos: Photo | Tensor, target: Any = None, **options: Any
) -> Explanation: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str, photos: Sequence[Photo | Tensor], target: Any = None, **options: Any
) -> list[Explanation]: ...
def explain(
    classifier: Classifier | nn.Module | str,
    photos: Photo | Tensor | Sequence[Photo | Tensor],
    target: Targets = None,
    *,
    contrast: Contrast | Objective | None = None,
    method: str = "gradcam",
    keep: bool = False,
    collect: Sequence[ClassName] = (),
    precision: str = "float32",
    batch_size: int | None = None,
    **options: Any,
) -> Explanation | list[Explanation]:
    """Explain why the classifier sees the target class and not its look-alikes.

    Args:
        classifier: a ``Classifier``, what ``finercam.load`` takes, or a bare module.
        photos: one photo (path, picture or array; or a preprocessed tensor 3 H W), several, or a preprocessed
            batch b 3 H W.
        target: a class for all photos or one per photo, by name or index; the top prediction if left out.
        contrast: what is asked. Instead of it, the options of ``Contrast`` may be given: ``against``,
            ``references``, ``gamma``, ``weighting``, ``aggregate``, ``reverse``.
        method: how it is answered, a name in ``finercam.METHODS``.
        keep: keep the evidence, so that ``explanation.again(gamma=1)`` needs no model.
        collect: further classes to keep, by name or index, besides the target and its references.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        batch_size: photos per run of the model, for score methods altered copies per run; ``None`` lets it choose.

    Returns:
        One explanation for one photo, a list for several.

    Raises:
        FinercamError: a photo, class, method or option cannot be used; the message says what to do.
    """
    if contrast is not None and options:
        raise FinercamError(f"give either contrast= or its options, not both ({', '.join(options)})")
    what = Contrast(**options) if contrast is None else contrast
    model = as_classifier(classifier)
    how = find_method(method)
    several = isinstance(photos, (list, tuple)) or (isinstance(photos, Tensor) and photos.ndim == 4)
    given: list[Any] = list(photos) if several else [photos]  # type: ignore[arg-type]
    each = target if isinstance(target, (list, tuple, Tensor)) else None
    if each is not None and len(each) != len(given):
        raise FinercamError(f"{len(each)} targets were given for {len(given)} photos")
    if isinstance(what, Contrast) and isinstance(what.against[0], tuple) and len(what.against) != len(given):
        raise FinercamError(f"{len(what.against)} lists of references were given for {len(given)} photos")
    explanations: list[Explanation] = []
    for batch, images in _batches(model, given, photos_per_run(batch_size)):
        targets = target if each is None else each[batch]
        explanations += explain_batch(
            model,
            images,
            what.part(batch),
            targets,
            sources=[_source(photo) for photo in given[batch]],
            how=how,
            collect=list(collect) if keep else None,
            precision=precision,
            batch_size=batch_size,
        )
    return explanations if several else explanations[0]


def explain_batch(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    contrast: Contrast | Objective,
    targets: Targets,
    *,
    sources: Sequence[str | None],
    how: Method,
    collect: Sequence[ClassName] | None,
    precision: str,
    batch_size: int | None,
) -> list[Explanation]:
    """Explain one batch: the contrast and, beside it, the plain CAM, from one look at the model."""
    evidence, questions = gather(
        classifier,
        images,
        [PLAIN, contrast],
        targets,
        method=how,
        collect=collect,
        precision=precision,
        batch_size=batch_size,
    )
    return explanations_from(
        evidence,
        *questions,
        images=images,
        contrast=contrast,
        how=how,
        classifier=classifier,
        precision=precision,
        sources=sources,
        keep=collect is not None,
    )


def photos_per_run(batch_size: int | None) -> int:
    """Return how many photos are taken together."""
    if batch_size is None:
        return 8
    if batch_size < 1:
        raise FinercamError(f"batch_size is {batch_size}; it must be at least 1")
    return batch_size


def as_classifier(given: Classifier | nn.Module | str) -> Classifier:
    """Return a classifier for what a user calls one."""
    if isinstance(given, Classifier):
        return given
    if isinstance(given, nn.Module):
        return Classifier(given)
    from finercam.models import load

    return load(given)


def preprocess(classifier: Classifier, photo: Photo | Tensor) -> Float[Tensor, "3 H W"]:
    """Return the photo as the model takes it. A tensor is taken to be preprocessed.

    Raises:
        FinercamError: the photo cannot be read, or the classifier has no preprocessing.
    """
    if isinstance(photo, Tensor):
        if photo.ndim != 3 or not photo.is_floating_point():
            raise FinercamError(
                f"a tensor is taken as a preprocessed image 3 H W of floats; this one is {photo.dtype} of shape "
                f"{tuple(photo.shape)}. Give a raw photo as a path, a PIL image or an array H W 3"
            )
        return photo
    picture = open_photo(photo)
    if classifier.preprocess is None:
        raise FinercamError(
            "this classifier has no preprocessing for photos; give Classifier(..., preprocess=) or preprocessed tensors"
        )
    image = classifier.preprocess(picture)
    if not isinstance(image, Tensor) or image.ndim != 3:
        raise FinercamError("preprocess= must turn a PIL image into a tensor 3 H W")
    return image


def _batches(classifier: Classifier, photos: list[Any], batch_size: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield runs of photos whose inputs have one shape, at most ``batch_size`` long."""
    start, images = 0, list[Tensor]()
    for photo in photos:
        image = preprocess(classifier, photo)
        if images and (len(images) == batch_size or image.shape != images[0].shape):
            yield slice(start, start + len(images)), torch.stack(images)
            start, images = start + len(images), []
        images.append(image)
    if images:
        yield slice(start, start + len(images)), torch.stack(images)


def _source(photo: Any) -> str | None:
    if isinstance(photo, (str, os.PathLike)):
        return os.fspath(photo)
    return getattr(photo, "filename", None) if isinstance(photo, Image.Image) else None
