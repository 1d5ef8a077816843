"""Maps that know nothing of the network. What they score, a method must beat for its own score to say anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

#: Noise pixel by pixel; noise as coarse as a CAM; the middle of the image.
CONTROLS = ("random", "blurred random", "centre")
#: Cells along each side of the coarse noise.
_COARSE = 7
#: How much noise a base map gets, as a share of its peak.
_NOISE = 0.1
#: So that the noise added to a map is not the one that is a map of its own.
_OTHER_SEEDS = 2**40


def controls(ids: Sequence[int], size: tuple[int, int]) -> dict[str, Float[Tensor, "b H W"]]:
    """Return the controls' maps by name, each 0 to 1, on the processor.

    Args:
        ids: numbers of the images in the data; each image has its own noise, whatever batch it is in.
        size: height and width.
    """
    generators = [torch.Generator().manual_seed(number) for number in ids]
    noise = torch.stack([torch.rand(size, generator=generator) for generator in generators])
    cells = torch.stack([torch.rand(1, _COARSE, _COARSE, generator=generator) for generator in generators])
    coarse = torch.nn.functional.interpolate(cells, size, mode="bilinear", align_corners=False)[:, 0]
    ys, xs = (torch.linspace(-1, 1, length) for length in size)
    centre = torch.exp(-2 * (ys[:, None] ** 2 + xs**2)).expand(len(ids), -1, -1).contiguous()
    return dict(zip(CONTROLS, (noise, coarse, centre), strict=True))


def with_noise(saliency: Float[Tensor, "b H W"], ids: Sequence[int], share: float = _NOISE) -> Float[Tensor, "b H W"]:
    """Return maps with noise added to every pixel, uniform from 0 to a share of the map's peak.

    It moves hardly anything the eye sees, and scatters what is masked first: what a metric gains by it, it gives for
    scatter. An empty map stays empty.

    Args:
        saliency: the maps.
        ids: numbers of the images in the data; each image has its own noise, whatever batch it is in.
        share: of the peak.
    """
    size = saliency.shape[1:]
    noise = [torch.rand(size, generator=torch.Generator().manual_seed(_OTHER_SEEDS + number)) for number in ids]
    return saliency + share * saliency.amax((1, 2), keepdim=True) * torch.stack(noise).to(saliency)
