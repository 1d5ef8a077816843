"""The image tower as timm builds it, under a name by which OpenCLIP can ask timm for it.

Importing this module tells timm of the name; before that, OpenCLIP cannot build the model.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from finercam._torchvision import import_torchvision
from finercam.aviary.drawing import SIZE
from finercam.aviary.network import MEAN, MODEL_ARGS, STD

import_torchvision()

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model  # noqa: E402
from timm.models.resnet import Bottleneck, ResNet  # noqa: E402

default_cfgs = generate_default_cfgs(
    {
        "finercam_aviary": {
            "input_size": (3, SIZE, SIZE),
            "pool_size": (16, 16),
            "mean": MEAN,
            "std": STD,
            "first_conv": "conv1.0",
            "classifier": "fc",
        }
    }
)


class Pointwise(Bottleneck):  # type: ignore[misc]  # timm has no types here
    """A bottleneck that looks at one cell at a time: its 3x3 convolution is a 1x1 one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wide: Any = self.get_submodule("conv2")
        self.conv2: Any = nn.Conv2d(wide.in_channels, wide.out_channels, 1, bias=False)


def finercam_aviary(pretrained: bool = False, **kwargs: Any) -> Any:
    """Return the network of the embedded classifier, but with ``Pointwise`` blocks in its last two stages.

    A cell then sees 47 pixels each way instead of 95, so what it says is about what is near it.
    """
    blocks = (Bottleneck, Bottleneck, Pointwise, Pointwise)
    return build_model_with_cfg(ResNet, "finercam_aviary", pretrained, block=blocks, **MODEL_ARGS, **kwargs)


register_model(finercam_aviary)
