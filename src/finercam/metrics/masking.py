"""What happens to the model's answer when the pixels a map points at are taken away, or given back.

Everything takes ``score``, a function from preprocessed images b 3 H W to probabilities b C; nothing here knows of
models. Pixels are ranked by saliency, ties by their order in the image, so that exactly as many change as asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError, nearest

#: Images b 3 H W to probabilities b C.
Score: TypeAlias = Callable[[Tensor], Tensor]

FILLS = ("mean", "black", "blur")


def filling(
    images: Float[Tensor, "b 3 H W"],
    fill: str = "mean",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Float[Tensor, "b 3 H W"]:
    """Return what removed pixels are replaced by.

    Args:
        images: preprocessed.
        fill: ``mean`` is 0 after normalisation, the mean colour (the paper's); ``black`` needs ``mean`` and ``std``;
            ``blur`` is the image itself under a Gaussian of a twentieth of its larger side.
        mean, std: the preprocessing's.
    """
    if fill == "mean":
        return torch.zeros_like(images)
    if fill == "black":
        if mean is None or std is None:
            raise FinercamError("fill 'black' needs the preprocessing's mean and std")
        black = -torch.tensor(mean) / torch.tensor(std)
        return black.to(images)[None, :, None, None].expand_as(images)
    if fill == "blur":
        return _blurred(images, max(images.shape[-2:]) / 20)
    raise FinercamError(f"fill is {fill!r}; {nearest(fill, FILLS)}")


def ranking(saliency: Float[Tensor, "b H W"]) -> Int[Tensor, "b H W"]:
    """Return each pixel's rank, 0 for the most salient; ties by pixel order. NaN is refused."""
    if bool(saliency.isnan().any()):
        raise FinercamError("a saliency map has values that are not numbers (NaN), so its pixels have no order")
    order = descending(saliency.flatten(1))
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return ranks.unflatten(1, saliency.shape[1:])


def descending(values: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return each row's indices from the largest value to the smallest, equal values in their own order."""
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return values.argsort(dim=1, descending=True, stable=True)
    # Several times faster on a processor: each value's bits, made to sort as it does, above its index. Numbers that
    # are all different need no stable sort. (Adding 0 turns -0 into 0, which it ties with.)
    bits = (values + 0.0).numpy().view(np.int32).astype(np.int64)
    ascending = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = (-ascending << 32) + np.arange(bits.shape[1])
    keys.sort(axis=1)
    return torch.from_numpy(keys & 0xFFFFFFFF)


def without_top(
    images: Float[Tensor, "b 3 H W"],
    ranks: Int[Tensor, "b H W"],
    fraction: float,
    fill: Float[Tensor, "b 3 H W"],
) -> Float[Tensor, "b 3 H W"]:
    """Return the images with exactly floor(fraction * pixels) of their most salient pixels filled."""
    count = top_count(fraction, ranks[0].numel())
    return torch.where((ranks < count)[:, None], fill, images)


def top_count(fraction: float, pixels: int) -> int:
    """Return floor(fraction * pixels), safe from the rounding of such fractions as 0.29 * 100."""
    if not 0 <= fraction <= 1:
        raise FinercamError(f"a fraction of pixels must lie between 0 and 1, not {fraction}")
    return math.floor(round(fraction * pixels, 6))


@dataclass(frozen=True)
class Drop:
    """Confidences before and after masking, per image.

    Attributes:
        confidence: ``p_c - p*_c``.
        relative: ``(p_c - p*_c) - (p_d - p*_d)`` (arXiv 2501.11309, Eq. 10).
    """

    confidence: Float[Tensor, " b"]
    relative: Float[Tensor, " b"]


def drop(
    before: Float[Tensor, "b C"],
    after: Float[Tensor, "b C"],
    target: Int[Tensor, " b"],
    other: Int[Tensor, " b"],
) -> Drop:
    """Return the confidence drop and the relative drop (Eq. 10).

    Args:
        before, after: probabilities of the unmasked and the masked images.
        target: class c.
        other: class d, the most similar on the *unmasked* image; the same for every map that is compared.
    """
    fall = before - after
    of_target = fall.gather(1, target[:, None])[:, 0]
    return Drop(of_target, of_target - fall.gather(1, other[:, None])[:, 0])


@dataclass(frozen=True)
class Curve:
    """How two classes' probabilities change with the fraction of pixels removed (or given back).

    Attributes:
        fractions: of pixels really changed, from 0 to 1 in steps equal to within a pixel.
        target, other: probabilities at each.
    """

    fractions: Float[Tensor, " n"]
    target: Float[Tensor, "b n"]
    other: Float[Tensor, "b n"]

    @property
    def area(self) -> Float[Tensor, " b"]:
        """Area under the target's curve by the trapezoidal rule, 0 to 1."""
        return torch.trapezoid(self.target, self.fractions.to(self.target), dim=1)


def deletion(
    score: Score,
    images: Float[Tensor, "b 3 H W"],
    saliency: Float[Tensor, "b H W"],
    target: Int[Tensor, " b"],
    other: Int[Tensor, " b"],
    *,
    steps: int = 50,
    fill: Float[Tensor, "b 3 H W"] | None = None,
) -> Curve:
    """Return the curve of removing pixels from the most to the least salient (RISE, arXiv 1806.07421, Section 4.2).

    Args:
        score: images to probabilities.
        images, saliency: preprocessed images and their maps.
        target, other: the class explained and the one it is compared with, whose curve is kept too (Fig. 5).
        steps: equal steps from none to all of the pixels.
        fill: what replaces removed pixels; the mean colour if left out.
    """
    return _curve(score, images, filling(images) if fill is None else fill, saliency, target, other, steps)


def insertion(
    score: Score,
    images: Float[Tensor, "b 3 H W"],
    saliency: Float[Tensor, "b H W"],
    target: Int[Tensor, " b"],
    other: Int[Tensor, " b"],
    *,
    steps: int = 50,
    fill: Float[Tensor, "b 3 H W"] | None = None,
) -> Curve:
    """Return the curve of giving pixels back from the most to the least salient, starting from a blurred image.

    Args: as for ``deletion``; ``fill`` is what the curve starts from, the blurred image if left out.
    """
    return _curve(score, filling(images, "blur") if fill is None else fill, images, saliency, target, other, steps)


def _curve(
    score: Score, start: Tensor, end: Tensor, saliency: Tensor, target: Tensor, other: Tensor, steps: int
) -> Curve:
    if steps < 1:
        raise FinercamError(f"steps is {steps}; a curve needs at least 1")
    ranks = ranking(saliency)
    probabilities = torch.stack(
        [score(without_top(start, ranks, step / steps, end)) for step in range(steps + 1)], dim=1
    )  # b n C
    image = torch.arange(len(target), device=target.device)
    pixels = saliency[0].numel()
    fractions = torch.tensor([top_count(step / steps, pixels) / pixels for step in range(steps + 1)])
    return Curve(fractions, probabilities[image, :, target], probabilities[image, :, other])


def _blurred(images: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    channels = images.shape[1]
    for shape, padding in (((1, 1, 1, -1), (reach, reach, 0, 0)), ((1, 1, -1, 1), (0, 0, reach, reach))):
        padded = torch.nn.functional.pad(images, padding, mode="replicate")
        kernel = weights.reshape(shape).expand(channels, -1, -1, -1)
        images = torch.nn.functional.conv2d(padded, kernel, groups=channels)
    return images
