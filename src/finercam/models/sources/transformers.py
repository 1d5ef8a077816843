"""Image classifiers of transformers, from the hub or a saved folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.models.backbone import Pooled, check_pools_by, without_head
from finercam.models.layers import find_layers
from finercam.models.outputs import read_logits


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the module, preprocessing and class names of a transformers image classifier."""
    config, where = _config(name, revision)
    heads = config.architectures or []
    if pretrained and not any("ForImageClassification" in head for head in heads):
        raise FinercamError(
            f"transformers/{name} was saved as {', '.join(heads) or 'a backbone'}, without an image classification "
            "head; a head made now would have random weights. Train one on photos of your classes: finercam probe "
            f"DATASET --backbone transformers/{name}"
        )
    module, _ = _create(name, config, pretrained, where)
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    return {
        "module": module,
        # LABEL_0, LABEL_1 ... are placeholders, not names.
        "class_names": None if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names,
        **_image_parts(name, where),
    }


def backbone_parts(name: str, *, pool: str, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return a transformers model without its head (images b 3 H W to features b K), pooled so, and its preprocessing.

    ``auto`` pools as the library's own image classifier of that family does.
    """
    config, where = _config(name, revision)
    spec = f"transformers/{name}"
    module, missing = _create(name, config, pretrained, where)
    parts = _image_parts(name, where)
    module, head = without_head(module.eval(), parts["image_size"], spec)
    missing -= {f"{head}.weight", f"{head}.bias"}
    if missing:
        raise FinercamError(
            f"{spec} has no weights for {', '.join(sorted(missing)[:3])} ({len(missing)} in all), which its image "
            f"classifier ({type(module).__name__}) needs; they would be random"
        )
    parts["module"] = module if pool == "auto" else _pooled(module, parts["image_size"], pool, spec)
    return parts


def _pooled(module: nn.Module, image_size: tuple[int, int], pool: str, spec: str) -> nn.Module:
    """Return the model of tokens inside an image classifier, its last hidden state pooled so."""
    found = find_layers(module, image_size, read_logits)
    inner = module.get_submodule(found.layers[0].split(".")[0])
    if found.grids[0].layout != "tokens" or next(inner.children(), None) is None:
        check_pools_by(pool, module, image_size, spec)
        return module
    return Pooled(inner, found.grids[0], pool)


def _config(name: str, revision: str | None) -> tuple[Any, dict[str, str]]:
    """Return the model's configuration, and where to find its files."""
    import_torchvision()
    from transformers import AutoConfig

    where = {} if revision is None else {"revision": revision}
    config = AutoConfig.from_pretrained(name, **where)
    if config.model_type == "timm_wrapper":
        kind = "local-dir" if Path(name).is_dir() else "hf-hub"
        raise FinercamError(f"transformers/{name} is a model of timm's; write timm/{kind}:{name}")
    return config, where


def _create(name: str, config: Any, pretrained: bool, where: dict[str, str]) -> tuple[Any, set[str]]:
    """Return the image classifier, and which of its weights were not in the files."""
    from transformers import AutoModelForImageClassification

    if not pretrained:
        return AutoModelForImageClassification.from_config(config), set()
    module, found = AutoModelForImageClassification.from_pretrained(
        name, use_safetensors=True, output_loading_info=True, **where
    )
    return module, set(found["missing_keys"])


def _image_parts(name: str, where: dict[str, str]) -> dict[str, Any]:
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(name, **where)

    def preprocess(picture: Image.Image) -> Tensor:
        pixels: Tensor = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        return pixels

    return {
        "preprocess": preprocess,
        "image_size": tuple(preprocess(Image.new("RGB", (320, 256))).shape[-2:]),
        "mean": tuple(processor.image_mean) if getattr(processor, "do_normalize", False) else (0.0, 0.0, 0.0),
        "std": tuple(processor.image_std) if getattr(processor, "do_normalize", False) else (1.0, 1.0, 1.0),
    }
