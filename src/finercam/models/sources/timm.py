"""timm models: by name, from a hub, or from a folder in timm's own format."""

from __future__ import annotations

from typing import Any

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest

_ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the module, preprocessing and class names of a timm model."""
    module = _create(name, pretrained, revision)
    if module.num_classes == 0:
        raise FinercamError(
            f"timm/{name} has no classification head: its outputs are features. Train one on photos of your classes "
            f"(finercam probe DATASET --backbone timm/{name}), or pass a module with a head to finercam.Classifier"
        )
    from_elsewhere = name.startswith(_ELSEWHERE)
    return {
        "module": module,
        "class_names": _class_names(module, known=pretrained and not from_elsewhere),
        **_image_parts(module),
    }


def backbone_parts(name: str, *, pool: str, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return a timm model without its head (images b 3 H W to features b K), pooled so, and its preprocessing."""
    # The head is taken off afterwards: without one timm loads weights leniently and says nothing of missing ones.
    module = _create(name, pretrained, revision)
    how = {"auto": {}, "mean": {"global_pool": "avg"}, "cls": {"global_pool": "token"}}[pool]
    try:
        module.reset_classifier(0, **how)
    except AssertionError as error:
        raise FinercamError(f"timm/{name} cannot be pooled by {pool!r} ({error}); use auto") from error
    return {"module": module, **_image_parts(module)}


def resize(module: Any, image_size: int) -> dict[str, Any]:
    """Have a timm model take square images of another size, and return its preprocessing for them."""
    if hasattr(module, "set_input_size"):
        module.set_input_size(img_size=(image_size, image_size))
    return _image_parts(module, image_size)


def _create(name: str, pretrained: bool, revision: str | None) -> Any:
    import_torchvision()
    import timm

    if not name.startswith(_ELSEWHERE) and not timm.is_model(name.split(".")[0]):
        raise FinercamError(f"timm has no model {name!r}; {nearest(name, timm.list_models())}")
    if revision is not None:
        if not name.startswith(("hf-hub:", "hf_hub:")):
            raise FinercamError("a revision belongs to a model on the hub: timm/hf-hub:ORG/NAME")
        name = f"{name}@{revision}"
    return timm.create_model(name, pretrained=pretrained)


def _image_parts(module: Any, image_size: int | None = None) -> dict[str, Any]:
    from timm.data import create_transform, resolve_model_data_config

    own = None if image_size is None else {"input_size": (3, image_size, image_size)}
    config = resolve_model_data_config(module, args=own)
    return {
        "preprocess": create_transform(**config, is_training=False),
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
