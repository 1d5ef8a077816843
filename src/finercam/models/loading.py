"""``load()``: a classifier from where people have them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from finercam.contrast.labels import Labels
from finercam.contrast.taxonomy_files import taxonomy_of
from finercam.errors import FinercamError
from finercam.models.assumed import check_kind
from finercam.models.classifier import Classifier
from finercam.models.embeddings import embedded
from finercam.models.finding import find_device, find_model, plain_errors, ways
from finercam.models.grid import Grid
from finercam.models.taxa import of_taxa
from finercam.models.text import CLASS_TEMPLATES, text


def load(
    spec: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
    classes: Sequence[str] | None = None,
    templates: Sequence[str] = CLASS_TEMPLATES,
    embeddings: str | os.PathLike[str] | None = None,
    subset: str | os.PathLike[str] | None = None,
    taxonomy: str | os.PathLike[str] | None = None,
    squash: bool = False,
    probabilities: str | None = None,
    rank: str | None = None,
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
            photos apart, with no training (``finercam.models.text``).
        templates: sentences with ``{}`` where the name of each of these goes; embeddings are averaged over them.
        embeddings: instead of ``classes`` a file of label embeddings that such a model made before: ``.npy`` with a
            ``.json`` of names beside it, or ``.parquet`` (``finercam.models.embeddings``).
        subset: of these, a CSV whose first column is a rank: only classes with one of its values.
        taxonomy: a file with the ranks of the classes, for ``against="genus"`` and the like where their names do not
            tell them: CSV or JSON (``finercam.contrast.taxonomy_files.taxonomy_of``).
        squash: resize each photo to the input's height and width, whatever its shape, as pybioclip does, instead of
            the model's own preprocessing, which may crop.
        probabilities: ``softmax``, or ``sigmoid`` where several classes may be present at once; what the model says
            of itself if left out.
        rank: a classifier of genera, families or the like instead of their species: the logit of each is
            ``log sum_c exp y_c`` over its classes (``finercam.models.taxa.of_taxa``).

    Raises:
        FinercamError: no such model, no access to its weights, or a model without a classification head.
    """
    if classes is not None and embeddings is not None:
        raise FinercamError("give either classes= or embeddings=, not both")
    if probabilities is not None:
        check_kind(probabilities)
    if subset is not None and embeddings is None:
        raise FinercamError("subset= is of label embeddings; give embeddings= too")
    options: dict[str, Any] = {"layer": layer, "grid": grid, "device": device, "pretrained": pretrained}
    options["revision"] = revision
    if embeddings is not None:
        classifier = embedded(spec, embeddings, subset=subset, **options)
    elif classes is not None:
        classifier = text(spec, classes, templates=templates, **options)
    else:
        classifier = _trained(spec, probabilities=probabilities, **options)
    if taxonomy is not None:
        classifier = in_taxonomy(classifier, taxonomy)
    if probabilities is not None:
        classifier = replace(classifier, probabilities=probabilities)
    if rank is not None:
        classifier = of_taxa(classifier, rank)
    return replace(classifier, preprocessing=classifier.preprocessing.squashed()) if squash else classifier


def _trained(
    spec: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None,
    grid: Grid | None,
    device: str,
    pretrained: bool,
    revision: str | None,
    probabilities: str | None,
) -> Classifier:
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


def in_taxonomy(classifier: Classifier, file: str | os.PathLike[str]) -> Classifier:
    """Return a classifier whose labels carry the taxonomy of a file.

    Raises:
        FinercamError: the classifier has no class names, or the file none of them.
    """
    if classifier.labels is None:
        raise FinercamError(
            f"{classifier.name} has no class names that could be looked up in {os.fspath(file)!r}; name them first"
        )
    names = classifier.labels.names
    return replace(classifier, labels=Labels(names, taxonomy_of(classifier.labels, file)))
