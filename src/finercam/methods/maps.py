"""Signed maps: put together, resized, and made into saliency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def resize(maps: Float[Tensor, "b r h w"], size: tuple[int, int]) -> Float[Tensor, "b r H W"]:
    """Return the maps at another size, bilinearly, cells taken as areas (corners not aligned)."""
    if maps.shape[-2:] == size:
        return maps
    return torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def to_saliency(signed: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b H W"]:
    """Return the ReLU of signed maps, then resized to the image; not scaled."""
    return resize(signed.relu()[:, None], size)[:, 0]


def fuse(layers: Sequence[Float[Tensor, "b r _h _w"]]) -> Float[Tensor, "b r h w"]:
    """Return the mean of several layers' maps, resized to the largest of their grids, signed and unscaled."""
    if len(layers) == 1:
        return layers[0]
    largest = max((maps.shape[-2:] for maps in layers), key=lambda size: size[0] * size[1])
    return torch.stack([resize(maps, (largest[0], largest[1])) for maps in layers]).mean(0)


def geometric_mean(maps: Sequence[Float[Tensor, "b r _h _w"]], offset: float) -> Float[Tensor, "b r h w"]:
    """Return ``(prod_i (M_i / max M_i + e)) ^ (1/n) - e``, times the geometric mean of the maxima; never negative.

    Twice the maps is twice the result, and where one of them is zero everywhere, so is the result.

    Args:
        maps: n of them, none negative anywhere; resized to the finest.
        offset: e: 0 is the bare geometric mean, which is zero wherever one of the maps is.
    """
    size = max((one.shape[-2:] for one in maps), key=math.prod)
    parts = torch.stack([resize(one, (size[0], size[1])) for one in maps])
    peaks = parts.amax((3, 4), keepdim=True)
    scaled = parts / peaks.clamp(min=torch.finfo(parts.dtype).tiny) + offset
    product = (scaled.log().mean(0).exp() - offset).clamp(min=0)
    # Unscaled again: where a map is empty, the mean of the logarithms is minus infinity and nothing is found.
    return product * peaks.log().mean(0).exp()
