"""timm models: by name, from a hub, or from a folder in timm's own format."""

from __future__ import annotations

from typing import Any

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the module, preprocessing and class names of a timm model."""
    import_torchvision()
    import timm
    from timm.data import create_transform, resolve_model_data_config

    from_elsewhere = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not from_elsewhere and not timm.is_model(name.split(".")[0]):
        raise FinercamError(f"timm has no model {name!r}; {nearest(name, timm.list_models())}")
    if revision is not None:
        if not name.startswith(("hf-hub:", "hf_hub:")):
            raise FinercamError("a revision belongs to a model on the hub: timm/hf-hub:ORG/NAME")
        name = f"{name}@{revision}"
    module = timm.create_model(name, pretrained=pretrained)
    if module.num_classes == 0:
        raise FinercamError(
            f"timm/{name} has no classification head: its outputs are features. Give it one "
            "(timm.create_model(..., num_classes=...), trained) and pass the module to finercam.Classifier"
        )
    config = resolve_model_data_config(module)
    return {
        "module": module,
        "preprocess": create_transform(**config, is_training=False),
        "class_names": _class_names(module, known=pretrained and not from_elsewhere),
        "image_size": tuple(config["input_size"][1:]),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
    }


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
