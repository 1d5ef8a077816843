"""A model as a study takes it: the one that is here, what tells it from others, and how another machine loads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from finercam.models.backbone import Backbone, load_backbone
from finercam.models.classifier import Classifier
from finercam.models.loading import load
from finercam.models.preprocessing import Preprocessing
from finercam.models.taxa import OfTaxa
from finercam.texts import encoded

Model = TypeVar("Model")


@dataclass(frozen=True, eq=False)
class Loaded(Generic[Model]):
    """A model, and how it is loaded where it is not.

    Args:
        model: here.
        preprocessing: how a photo becomes its input.
        identity: what tells the model from others, as plain data: its weights, where it is looked at, what it takes.
        uses: what of finercam's own code it runs: functions and classes; their source is part of a fingerprint.
        load: loads it on another machine, and can be sent there; ``None`` keeps the model to this one.
    """

    model: Model
    preprocessing: Preprocessing
    identity: Mapping[str, Any]
    uses: tuple[Any, ...] = ()
    load: Callable[[], Loaded[Model]] | None = None


def loaded_classifier(
    classifier: Classifier, spec: str | None = None, options: Mapping[str, Any] | None = None
) -> Loaded[Classifier]:
    """Return a classifier as a study takes it.

    Args:
        classifier: what ``finercam.load(spec, **options)`` gave, or one of your own.
        spec, options: for other machines to load it themselves; without a spec it stays on this one.
    """
    identity = {
        "name": classifier.name,
        "weights": of_weights(classifier.module),
        "layers": list(classifier.layers),
        **_preprocessing(classifier.preprocessing),
        "probabilities": classifier.probabilities,
        "classes": of_text("\n".join(classifier.labels.names) if classifier.labels else str(classifier.classes)),
    }
    if classifier.labels is not None and classifier.labels.given is not None:
        identity["taxonomy"] = of_text(json.dumps(classifier.labels.given.packed()))
    if isinstance(classifier.read, OfTaxa):
        identity["rank"] = classifier.read.groups.rank
    uses = own_code(classifier.module, [classifier.read, classifier.preprocessing.transform])
    elsewhere = None if spec is None else partial(_load_classifier, spec, dict(options or {}))
    return Loaded(classifier, classifier.preprocessing, identity, uses, elsewhere)


def loaded_backbone(backbone: Backbone) -> Loaded[Backbone]:
    """Return a backbone as a study takes it; other machines load it by its own spec."""
    # How the weights were reached does not matter, only what they are.
    identity = {key: value for key, value in backbone.record().items() if key not in ("backbone", "revision")}
    uses = own_code(backbone.module, [backbone.preprocessing.transform])
    elsewhere = partial(_load_backbone, backbone.spec, backbone.pool, backbone.resized, backbone.revision)
    return Loaded(backbone, backbone.preprocessing, identity, uses, elsewhere)


def _load_classifier(spec: str, options: Mapping[str, Any]) -> Loaded[Classifier]:
    return loaded_classifier(load(spec, **options), spec, options)


def _load_backbone(spec: str, pool: str, image_size: int | None, revision: str | None) -> Loaded[Backbone]:
    return loaded_backbone(load_backbone(spec, pool, image_size=image_size, revision=revision))


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


def _preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what a preprocessing says of itself; what it does is the run's to find out."""
    text = str(preprocessing.transform)
    return {
        "input": list(preprocessing.size),
        # A function's own text holds its address, which differs from run to run.
        "preprocessing": "own function" if " at 0x" in text else text,
    }


def of_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(encoded(text)).hexdigest()


def own_code(module: nn.Module, more: Iterable[Any] = ()) -> tuple[Any, ...]:
    """Return the classes of a network's parts that are finercam's own, and those of ``more`` that are.

    What other libraries' networks compute is told by their weights.
    """
    kinds = [*(type(part) for part in module.modules()), *more]
    kinds = [kind if hasattr(kind, "__module__") else type(kind) for kind in kinds]
    return tuple(dict.fromkeys(kind for kind in kinds if str(kind.__module__).startswith("finercam.")))
