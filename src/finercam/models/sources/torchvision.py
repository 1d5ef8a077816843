"""torchvision models, with their weights' own transforms and categories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest
from finercam.models.backbone import Pooled, check_pools_by, without_head
from finercam.models.grid import Grid


def classifier_parts(name: str, *, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return the module, preprocessing and class names of ``NAME`` or ``NAME/WEIGHTS``."""
    models = import_torchvision().models
    name, _, chosen = name.partition("/")
    known = models.list_models(module=models)
    if name not in known:
        raise FinercamError(f"torchvision has no classification model {name!r}; {nearest(name, known)}")
    if revision is not None:
        raise FinercamError("torchvision's weights have names, not revisions: torchvision/resnet50/IMAGENET1K_V1")
    choices = models.get_model_weights(name)
    if chosen and chosen not in choices.__members__:
        raise FinercamError(f"{name} has no weights {chosen!r}; {nearest(chosen, choices.__members__)}")
    weights = choices[chosen] if chosen else choices.DEFAULT
    transforms = weights.transforms()
    module = models.get_model(name, weights=None, **_INIT.get(name, {}))
    if pretrained:
        module.load_state_dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
    size = transforms.crop_size[0]
    return {
        "module": module,
        "preprocess": transforms,
        "class_names": weights.meta["categories"],
        "image_size": (size, size),
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
    }


def backbone_parts(name: str, *, pool: str, pretrained: bool, revision: str | None) -> dict[str, Any]:
    """Return a torchvision model without its final linear layer (images b 3 H W to features b K), pooled so."""
    parts = classifier_parts(name, pretrained=pretrained, revision=revision)
    del parts["class_names"]
    parts["module"], _ = without_head(parts["module"].eval(), parts["image_size"], f"torchvision/{name}")
    if isinstance(parts["module"], import_torchvision().models.VisionTransformer):
        if pool == "mean":
            parts["module"] = Pooled(_Tokens(parts["module"]), Grid("tokens", prefix=1), pool)
    else:
        check_pools_by(pool, parts["module"], parts["image_size"], f"torchvision/{name}")
    return parts


class _Tokens(nn.Module):
    """The tokens of torchvision's vision transformer, after its last norm: b N K, the class token first."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens."""
        patches = self.vit._process_input(images)
        tokens: Tensor = self.vit.encoder(torch.cat([self.vit.class_token.expand(len(images), -1, -1), patches], 1))
        return tokens


#: What these architectures need to be built without weights: their slow random initialisation is left out.
_INIT: dict[str, dict[str, Any]] = {
    "inception_v3": {"init_weights": False, "transform_input": True},
    "googlenet": {"init_weights": False, "transform_input": True},
}
