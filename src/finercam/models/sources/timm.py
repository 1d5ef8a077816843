"""timm models: by name, from a hub, or from a folder in timm's own format."""

from __future__ import annotations

from functools import partial
from typing import Any

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import BackboneParts, Checkpoint, ClassifierParts, Saved, source

_ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """Return the module, preprocessing and class names of ``NAME``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``."""
    module, name = _create(checkpoint), checkpoint.name
    if module.num_classes == 0:
        raise FinercamError(
            f"timm/{name} has no classification head: its outputs are features. Train one on photos of your classes "
            f"(finercam probe DATASET --backbone timm/{name}), or pass a module with a head to finercam.Classifier.of"
        )
    known = checkpoint.pretrained and not name.startswith(_ELSEWHERE)
    return ClassifierParts(module, _preprocessing(module), _class_names(module, known))


def backbone(checkpoint: Checkpoint, pool: str) -> BackboneParts:
    """Return a timm model without its head (images b 3 H W to features b K), pooled so."""
    # The head is taken off afterwards: without one timm loads weights leniently and says nothing of missing ones.
    module = _create(checkpoint)
    how = {"auto": {}, "mean": {"global_pool": "avg"}, "cls": {"global_pool": "token"}}[pool]
    try:
        module.reset_classifier(0, **how)
    except AssertionError as error:
        raise FinercamError(f"timm/{checkpoint.name} cannot be pooled by {pool!r} ({error}); use 'auto'") from error
    return BackboneParts(module, _preprocessing(module), resize=partial(_resize, module))


def _create(checkpoint: Checkpoint) -> Any:
    import_torchvision()
    import timm

    name = checkpoint.name
    if not name.startswith(_ELSEWHERE) and not timm.is_model(name.split(".")[0]):
        raise FinercamError(f"timm has no model {name!r}; {nearest(name, timm.list_models())}")
    if checkpoint.revision is not None:
        if not name.startswith(("hf-hub:", "hf_hub:")):
            raise FinercamError("a revision belongs to a model on the hub: timm/hf-hub:ORG/NAME")
        name = f"{name}@{checkpoint.revision}"
    return timm.create_model(name, pretrained=checkpoint.pretrained)


def _resize(module: Any, side: int) -> Preprocessing:
    """Have a timm model take square images of another size, and return its preprocessing for them."""
    if hasattr(module, "set_input_size"):
        module.set_input_size(img_size=(side, side))
    return _preprocessing(module, side)


def _preprocessing(module: Any, side: int | None = None) -> Preprocessing:
    from timm.data import create_transform, resolve_model_data_config

    own = None if side is None else {"input_size": (3, side, side)}
    config = resolve_model_data_config(module, args=own)
    _, height, width = config["input_size"]
    transform = create_transform(**config, is_training=False)
    return Preprocessing(transform, (height, width), tuple(config["mean"]), tuple(config["std"]))


def _class_names(module: Any, known: bool) -> list[str] | None:
    """Return the names the weights came with; ImageNet's only for weights that timm itself trained on it."""
    names = module.pretrained_cfg.get("label_names")
    if names is not None:
        return list(names) if len(names) == module.num_classes else None
    if not known:
        # The number of classes alone would name anybody's 1000 classes after ImageNet's.
        return None
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(module)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return [info.index_to_description(index) for index in range(module.num_classes)]


TIMM = source(
    "timm",
    specs=("timm/NAME", "timm/hf-hub:ORG/NAME", "timm/local-dir:FOLDER"),
    classifier=classifier,
    backbone=backbone,
    saved=Saved("config.json", key="architecture", prefix="local-dir:"),
)
