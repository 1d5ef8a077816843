"""What explainers of single pixels share: gradients at altered images, noisy and blurred images, and smoothed maps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.methods.bounds import refuse_outside
from finercam.models.look import INPUT, Look

#: Side of the box that blurs a photo beyond recognition, three times over, as a share of its larger side.
_BLUR = 0.14


def pixel_gradients(
    look: Look, images: Float[Tensor, "b c H W"], rows: Float[Tensor, "b m C"]
) -> Float[Tensor, "b m c H W"]:
    """Return the gradient of each ``row . logits`` with respect to other images of the same size, in one run."""
    with look.beside(images, at=(INPUT,)) as beside:
        (gradients,) = beside.gradients(rows, (INPUT,))
    return gradients


def noisy_copies(
    images: Float[Tensor, "b 3 H W"], copies: int, noise: float, seed: int
) -> Iterator[Float[Tensor, "b 3 H W"]]:
    """Yield copies of images with Gaussian noise.

    The noise is the same for every image but for its scale, so that an image's copies do not depend on the others in
    its batch.

    Args:
        images: what is copied.
        copies: how many times.
        noise: standard deviation, as a share of each image's range, ``max - min``.
        seed: of the noise.
    """
    scale = noise * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(copies):
        yield images + scale * torch.randn(images.shape[1:], generator=generator).to(images)


def refuse_noise(method: str, copies: int, noise: float, seed: int) -> None:
    """Raise if what ``noisy_copies`` takes is out of range, before anything is run."""
    refuse_outside(method, "copies", copies, 1, 10_000)
    refuse_outside(method, "noise", noise, 0.0, 10.0, " times the image's range")
    refuse_outside(method, "seed", seed, 0, 2**63 - 1)


def refuse_smooth(method: str, smooth: float) -> None:
    """Raise if the side of the smoothing box is out of range, before anything is run."""
    refuse_outside(method, "smooth", smooth, 0.0, 0.5, " of the image's larger side")


def box_smoothed(maps: Float[Tensor, "b m H W"], smooth: float) -> Float[Tensor, "b m H W"]:
    """Return maps averaged over a box, twice: gradients with respect to pixels are rough.

    The sum of a map stays, but for what is smoothed over the image's border. Linear.

    Args:
        maps: of pixels.
        smooth: side of the box, as a share of the image's larger side, made an odd number of pixels; 0 leaves the
            maps as they are.
    """
    reach = round(smooth * max(maps.shape[-2:])) // 2
    for _ in range(2 if reach else 0):
        maps = _box(torch.nn.functional.pad(maps, (reach,) * 4), 2 * reach + 1)
    return maps


def blurred(images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """Return images blurred beyond recognition: by a box of a seventh of the larger side, three times."""
    side = round(_BLUR * max(images.shape[-2:])) | 1
    for _ in range(3):
        padded = torch.nn.functional.pad(images, (side // 2,) * 4, mode="replicate")
        images = _box(padded, side)
    return images


def _box(padded: Float[Tensor, "n k H W"], side: int) -> Float[Tensor, "n k h w"]:
    # Down and then across: the two-dimensional box costs as much as several runs of a small network.
    down = torch.nn.functional.avg_pool2d(padded, (side, 1), stride=1)
    return torch.nn.functional.avg_pool2d(down, (1, side), stride=1)
