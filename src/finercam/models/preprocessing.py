"""How a photo becomes a model's input, as a record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.errors import FinercamError

#: Pixels along a side of an input.
_LARGEST = 16384


@dataclass(frozen=True)
class Squash:
    """Resize a picture to a height and width, whatever its shape, and normalise it.

    Bilinear on the values 0..1, as pybioclip has it: ``ToTensor``, ``Resize((224, 224), antialias=True)``,
    ``Normalize``.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, picture: Image.Image) -> Float[Tensor, "c H W"]:
        """Return the picture as a tensor."""
        values = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
        resized = torch.nn.functional.interpolate(values, self.size, mode="bilinear", antialias=True)[0]
        mean, std = (torch.tensor(of)[:, None, None] for of in (self.mean, self.std))
        return (resized - mean) / std


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a model's input.

    Args:
        transform: turns an RGB ``PIL.Image`` into a tensor c H W; ``None`` where only tensors are explained.
        size: height and width of the input the model is tried on, which most models take.
        mean, std: what ``transform`` normalises by, per channel; used to show the picture again.
        channels: of the input, c.
    """

    transform: Callable[[Image.Image], Tensor] | None = None
    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            numbers = values is None or all(isinstance(one, (int, float)) and math.isfinite(one) for one in values)
            if not numbers or (name == "std" and values is not None and min(values, default=1) <= 0):
                raise FinercamError(f"{name} is {values}; it must be a number for each channel, and above 0 for std")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise FinercamError(f"mean is {self.mean} and std {self.std}; they must be of one length")
        if len(self.size) != 2 or not all(isinstance(side, int) and 1 <= side <= _LARGEST for side in self.size):
            raise FinercamError(f"the input's size is {self.size}; it must be height and width, 1 to {_LARGEST} each")

    def squashed(self) -> Preprocessing:
        """Return a preprocessing that resizes without regard to a photo's shape, and crops nothing.

        Raises:
            FinercamError: it is not known what the inputs are normalised by, or they are not in colour.
        """
        if self.mean is None or self.std is None or self.channels != 3 or self.transform is None:
            raise FinercamError("squash= needs a model of colour photos whose mean and std are known")
        return replace(self, transform=Squash(self.size, self.mean, self.std))

    def check(self) -> None:
        """See that the transform makes an image of a photo, before there are photos.

        Raises:
            Exception: whatever the transform raises; it does not make an image, or one that is not finite.
        """
        if self.transform is not None and not bool(self(Image.new("RGB", (320, 256), "gray")).isfinite().all()):
            raise FinercamError("the preprocessing makes images with values that are not finite")

    def __call__(self, picture: Image.Image) -> Float[Tensor, "c H W"]:
        """Return the picture as the model takes it.

        Raises:
            FinercamError: there is no transform, or it does not make an image.
        """
        if self.transform is None:
            raise FinercamError(
                "this classifier has no preprocessing for photos; give Classifier.of(..., preprocess=) or "
                "preprocessed tensors"
            )
        image = self.transform(picture)
        if not isinstance(image, Tensor) or image.ndim != 3:
            raise FinercamError("preprocess= must turn a PIL image into a tensor c H W")
        if len(image) != self.channels:
            raise FinercamError(
                f"preprocess= makes an image of {len(image)} channels, but the model takes {self.channels}; let it add "
                "the others, or explain preprocessed tensors"
            )
        return image
