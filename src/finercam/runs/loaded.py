"""A model for a study: the one that is here, what tells it from others, and how another machine loads it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from finercam.models.backbone import Backbone
from finercam.models.classifier import Classifier
from finercam.models.preprocessing import Preprocessing

Model = TypeVar("Model")


@dataclass(frozen=True, eq=False)
class Loaded(Generic[Model]):
    """A model, and how it is loaded where it is not.

    Args:
        model: here.
        preprocessing: how a photo becomes its input.
        identify: returns what tells the model from others, as plain data: its weights, where it is looked at, what
            it takes. Can be sent to other machines.
        load: loads it on another machine, and can be sent there; ``None`` keeps the model to this one.
    """

    model: Model
    preprocessing: Preprocessing
    identify: Callable[[Model], Mapping[str, Any]]
    load: Callable[[], Model] | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this model from others."""
        return dict(self.identify(self.model))


def classifier_here(
    classifier: Classifier, spec: str | None = None, options: Mapping[str, Any] | None = None
) -> Loaded[Classifier]:
    """Return a classifier as a study takes it.

    Args:
        classifier: what ``finercam.load(spec, **options)`` gave, or one of your own.
        spec, options: for other machines to load it themselves; without a spec it stays on this one.
    """
    from finercam.models.loading import load

    elsewhere = None if spec is None else partial(load, spec, **dict(options or {}))
    return Loaded(classifier, classifier.preprocessing, of_classifier, elsewhere)


def of_classifier(classifier: Classifier) -> dict[str, Any]:
    """Return what identifies a classifier: its weights, where it is looked at, what it takes, what it calls things."""
    return {
        "name": classifier.name,
        "weights": of_weights(classifier.module),
        "layers": list(classifier.layers),
        **_of_preprocessing(classifier.preprocessing),
        "classes": of_text("\n".join(classifier.labels.names) if classifier.labels else str(classifier.classes)),
    }


def backbone_here(backbone: Backbone, preprocessing: Preprocessing) -> Loaded[Backbone]:
    """Return a backbone as a study takes it; other machines load it by its own spec."""
    from finercam.models.backbone import load_backbone

    elsewhere = partial(
        load_backbone, backbone.spec, backbone.pool, image_size=backbone.resized, revision=backbone.revision
    )
    return Loaded(backbone, preprocessing, of_backbone, elsewhere)


def of_backbone(backbone: Backbone) -> dict[str, Any]:
    """Return what identifies a backbone. How its weights were reached does not matter, only what they are."""
    record = backbone.record()
    return {key: value for key, value in record.items() if key not in ("backbone", "revision")}


def of_weights(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and buffers, names included."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        plain = tensor.detach().cpu().contiguous()
        found.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        # Any type's bytes, bfloat16's too.
        found.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return found.hexdigest()


def of_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _of_preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    text = str(preprocessing.transform)
    return {
        "input": list(preprocessing.size),
        # A function's own text holds its address, which differs from run to run.
        "preprocessing": "own function" if " at 0x" in text else text,
    }
