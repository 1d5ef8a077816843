"""OpenCLIP models; and the image tower of one as a classifier: its "classes" are the embedding's dimensions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the image tower and preprocessing of ``NAME/WEIGHTS``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``."""
    model = create_model(name, pretrained=pretrained, revision=revision)
    return {"module": model.visual, **image_parts(model)}


def backbone_parts(name: str, *, pool: str, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the image tower (images b 3 H W to embeddings b K, not normalised), pooled so, and its preprocessing."""
    parts = classifier_parts(name, pretrained=pretrained, revision=revision)
    visual, how = parts["module"], {"mean": ("avg", "avg"), "cls": ("tok", "token")}.get(pool)
    if how is None:
        return parts
    trunk = getattr(visual, "trunk", None)
    if getattr(visual, "attn_pool", None) is None and getattr(visual, "pool_type", None) in ("avg", "tok"):
        visual.pool_type = how[0]
    elif trunk is not None and getattr(trunk, "num_classes", None) == 0:
        try:
            trunk.reset_classifier(0, how[1])
        except AssertionError as error:
            raise FinercamError(f"open_clip/{name} cannot be pooled by {pool!r} ({error}); use auto") from error
    else:
        raise FinercamError(f"open_clip/{name} pools its tokens by attention and cannot do so by {pool!r}; use auto")
    return parts


def create_model(name: str, *, pretrained: bool, revision: str | None) -> Any:
    """Return the whole model, both towers, of ``NAME/WEIGHTS``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``.

    Raises:
        FinercamError: OpenCLIP has no such model or weights.
    """
    import_torchvision()
    import open_clip

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
    with _never_unpickling():
        return open_clip.create_model(
            name,
            pretrained=weights if pretrained else None,
            load_weights=pretrained,
            # A folder without weights would be a model with random ones, and no more than a line in a log.
            require_pretrained=pretrained,
        )


def image_parts(model: Any) -> dict[str, Any]:
    """Return the preprocessing of an OpenCLIP model."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    size = model.visual.image_size
    config = open_clip.get_model_preprocess_cfg(model)
    return {
        "preprocess": image_transform_v2(PreprocessCfg(**config), is_train=False),
        "image_size": tuple(size) if isinstance(size, (tuple, list)) else (size, size),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
    }


@contextmanager
def _never_unpickling() -> Iterator[None]:
    """Have ``torch.load`` read weights only, also where OpenCLIP falls back on reading more.

    It asks for weights only, and after a ``TypeError``, which a file can provoke, it asks again without.
    """
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before
