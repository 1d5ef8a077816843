"""torchvision models, with their weights' own transforms and categories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest
from finercam.models.backbone import Pooled, check_pools_by, without_head
from finercam.models.grid import Grid
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import BackboneParts, Checkpoint, ClassifierParts, source


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """Return the module, preprocessing and class names of ``NAME`` or ``NAME/WEIGHTS``."""
    models = import_torchvision().models
    name, _, chosen = checkpoint.name.partition("/")
    known = models.list_models(module=models)
    if name not in known:
        raise FinercamError(f"torchvision has no classification model {name!r}; {nearest(name, known)}")
    if checkpoint.revision is not None:
        raise FinercamError("torchvision's weights have names, not revisions: torchvision/resnet50/IMAGENET1K_V1")
    choices = models.get_model_weights(name)
    if chosen and chosen not in choices.__members__:
        raise FinercamError(f"{name} has no weights {chosen!r}; {nearest(chosen, choices.__members__)}")
    weights = choices[chosen] if chosen else choices.DEFAULT
    transforms = weights.transforms()
    module = models.get_model(name, weights=None, **_INIT.get(name, {}))
    if checkpoint.pretrained:
        module.load_state_dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
    side = transforms.crop_size[0]
    preprocessing = Preprocessing(transforms, (side, side), tuple(transforms.mean), tuple(transforms.std))
    return ClassifierParts(module, preprocessing, weights.meta["categories"])


def backbone(checkpoint: Checkpoint, pool: str) -> BackboneParts:
    """Return a torchvision model without its final linear layer (images b 3 H W to features b K), pooled so."""
    parts, spec = classifier(checkpoint), f"torchvision/{checkpoint.name}"
    module, _ = without_head(parts.module.eval(), parts.preprocessing.size, spec)
    if not isinstance(module, import_torchvision().models.VisionTransformer):
        check_pools_by(pool, module, parts.preprocessing.size, spec)
    elif pool == "mean":
        module = Pooled(_Tokens(module), Grid("tokens", prefix=1), pool)
    return BackboneParts(module, parts.preprocessing)


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

TORCHVISION = source("torchvision", specs=("torchvision/NAME[/WEIGHTS]",), classifier=classifier, backbone=backbone)
