"""Image classifiers of transformers, from the hub or a saved folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the module, preprocessing and class names of a transformers image classifier."""
    import_torchvision()
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    where = {} if revision is None else {"revision": revision}
    config = AutoConfig.from_pretrained(name, **where)
    if config.model_type == "timm_wrapper":
        kind = "local-dir" if Path(name).is_dir() else "hf-hub"
        raise FinercamError(f"transformers/{name} is a model of timm's; write timm/{kind}:{name}")
    heads = config.architectures or []
    if pretrained and not any("ForImageClassification" in head for head in heads):
        raise FinercamError(
            f"transformers/{name} was saved as {', '.join(heads) or 'a backbone'}, without an image classification "
            "head; a head made now would have random weights"
        )
    if pretrained:
        module = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, **where)
    else:
        module = AutoModelForImageClassification.from_config(config)
    processor = AutoImageProcessor.from_pretrained(name, **where)

    def preprocess(picture: Image.Image) -> Tensor:
        pixels: Tensor = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        return pixels

    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    return {
        "module": module,
        "preprocess": preprocess,
        # LABEL_0, LABEL_1 ... are placeholders, not names.
        "class_names": None if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names,
        "image_size": tuple(preprocess(Image.new("RGB", (320, 256))).shape[-2:]),
        "mean": tuple(processor.image_mean) if getattr(processor, "do_normalize", False) else (0.0, 0.0, 0.0),
        "std": tuple(processor.image_std) if getattr(processor, "do_normalize", False) else (1.0, 1.0, 1.0),
    }
