"""``load()``: a classifier from where people have them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from finercam.errors import FinercamError
from finercam.models.assumed import check_kind
from finercam.models.classifier import Classifier
from finercam.models.finding import find_device, find_model, plain_errors, ways
from finercam.models.grid import Grid
from finercam.models.text import text


def load(
    spec: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
    classes: Sequence[str] | None = None,
    probabilities: str | None = None,
) -> Classifier:
    """Load a classifier with its own preprocessing and class names, ready to be explained.

    Args:
        spec: ``timm/NAME``, ``torchvision/NAME[/WEIGHTS]``, ``transformers/ORG/NAME``, ``open_clip/NAME/WEIGHTS``
            (image tower), a folder in timm's, transformers' or OpenCLIP's format or of a trained probe, or
            ``aviary``, the small embedded classifier (``aviary-clip``: its text-image model). More sources can be
            registered with ``finercam.models.source``.
        layer, grid: as for ``Classifier``, where the layer found is not the one wanted.
        device: ``auto`` (an accelerator if there is one), or as torch names devices.
        pretrained: ``False`` gives random weights of the architecture.
        revision: of a model on a hub.
        classes: names by which a model of images and text (OpenCLIP; CLIP and SigLIP of transformers) tells
            photos apart, with no training: ``finercam.models.text`` with its usual template.
        probabilities: ``softmax``, or ``sigmoid`` where several classes may be present at once; what the model says
            of itself if left out.

    Raises:
        FinercamError: no such model, no access to its weights, or a model without a classification head.
    """
    if probabilities is not None:
        check_kind(probabilities)
    if classes is not None:
        found = text(spec, classes, layer=layer, grid=grid, device=device, pretrained=pretrained, revision=revision)
        return found if probabilities is None else replace(found, probabilities=probabilities)
    source, checkpoint = find_model(spec, pretrained, revision)
    if source.classifier is None:
        raise FinercamError(
            f"{spec} cannot be used as a classifier (the source {source.name} has none); write "
            f"{ways(lambda source: source.classifier is not None)}"
        )
    target = find_device(device)
    with plain_errors(spec, source):
        parts = source.classifier(checkpoint)
        parts.preprocessing.check()
    return Classifier.from_parts(
        parts.module.to(target).eval(),
        parts.preprocessing,
        layer=layer,
        grid=grid,
        class_names=parts.class_names,
        probabilities=probabilities or parts.probabilities,
        name=os.fspath(spec),
    )
