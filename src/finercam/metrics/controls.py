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
