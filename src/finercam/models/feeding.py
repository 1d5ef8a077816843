"""What a model is called with: batches of one, three, four or more channels, on their own or inside of something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models.passes import forward_pass, hooked
from finercam.models.undisturbed import device_of, undisturbed


class Fed(nn.Module):
    """A module that takes something else than a batch of images, as one that takes images.

    Args:
        model: the module.
        feed: makes what the module is called with of a batch b c H W; a tuple is several arguments.
    """

    def __init__(self, model: nn.Module, feed: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.model = model
        self.feed = feed
        # Not by train(), which would set the mode of every part of the model.
        self.training = model.training

    def forward(self, images: Tensor) -> Any:
        """Return what the module returns."""
        given = self.feed(images)
        return self.model(*given) if isinstance(given, tuple) else self.model(given)


def noise(channels: int, size: tuple[int, int], count: int = 1) -> Tensor:
    """Return images of noise, count c H W, the same every time."""
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))


def first_channels(module: nn.Module, size: tuple[int, int]) -> int:
    """Return how many channels the module's first convolution takes; 3 where it is not given the images themselves.

    The module is run on noise of 3 channels up to there.
    """
    taken: list[int] = []

    class _Seen(Exception):
        pass

    def look(inner: nn.Module, args: Any) -> None:
        assert isinstance(inner, nn.Conv2d)
        # A module may add channels of its own to the image's: what arrives then fits.
        taken.append(inner.in_channels if args and args[0].shape[1:2] == (3,) else 3)
        raise _Seen

    convolutions: dict[nn.Module, Callable[[nn.Module, Any], None]] = {
        inner: look for inner in module.modules() if isinstance(inner, nn.Conv2d)
    }
    images = noise(3, size).to(device_of(module))
    with undisturbed(module), hooked({}, convolutions):
        try:
            forward_pass(module, images, "float32")
        except Exception:
            # The first convolution was reached; or the module does not run on such images, which is told of when
            # it is tried in full.
            return taken[0] if taken else 3
    return 3


def check_channels(channels: int) -> int:
    """Return the number of channels.

    Raises:
        FinercamError: it is below 1.
    """
    if channels < 1:
        raise FinercamError(f"channels is {channels}; it must be at least 1")
    return channels


def check_batch(images: object, channels: int) -> Tensor:
    """Return the images, which must be a batch b c H W.

    Raises:
        FinercamError: they are something else, such as a single image, an array, or whole numbers.
    """
    if isinstance(images, Tensor) and not images.is_floating_point():
        raise FinercamError(
            f"the images are {images.dtype}, and a tensor is taken as preprocessed: floats b c H W. Preprocess a raw "
            "photo (a path, a PIL image or an array H W 3), or give it to finercam.explain"
        )
    if isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == channels:
        return images
    given = f"a tensor of shape {tuple(images.shape)}" if isinstance(images, Tensor) else f"of {type(images).__name__}"
    hint = "; make a single image a batch with images[None]" if getattr(images, "ndim", 4) == 3 else ""
    raise FinercamError(f"the images are {given}; give a tensor b c H W with c = {channels}{hint}")
