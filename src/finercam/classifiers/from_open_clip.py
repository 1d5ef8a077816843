"""The image tower of an OpenCLIP model: its "classes" are the dimensions of the embedding."""

from __future__ import annotations

from typing import Any

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the image tower and preprocessing of ``NAME/WEIGHTS``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``."""
    import_torchvision()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if revision is not None:
        raise FinercamError("OpenCLIP's loader takes no revision; download the one you want and give its folder")
    weights: str | None = None
    if not name.startswith(("hf-hub:", "local-dir:")):
        name, _, weights = name.partition("/")
        if name not in open_clip.list_models():
            raise FinercamError(f"OpenCLIP has no model {name!r}; {nearest(name, open_clip.list_models())}")
        tags = open_clip.list_pretrained_tags_by_model(name)
        if pretrained and weights not in tags:
            what = f"no weights {weights!r} for {name}" if weights else "several sets of weights to choose from"
            raise FinercamError(f"OpenCLIP has {what}; write open_clip/{name}/WEIGHTS, {nearest(weights or '', tags)}")
    model = open_clip.create_model(name, pretrained=weights if pretrained else None, load_weights=pretrained)
    visual = model.visual
    size = visual.image_size if isinstance(visual.image_size, tuple) else (visual.image_size,) * 2
    config = open_clip.get_model_preprocess_cfg(model)
    return {
        "module": visual,
        "preprocess": image_transform_v2(PreprocessCfg(**config), is_train=False),
        "image_size": tuple(size),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
    }
