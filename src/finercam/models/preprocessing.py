"""How a photo becomes a model's input, as a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.errors import FinercamError


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
        return image
