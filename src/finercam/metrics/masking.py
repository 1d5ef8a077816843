"""What happens to the model's answer when the pixels a map points at are taken away, or given back.

Pixels are ranked by saliency, ties by their order in the image, so that exactly as many change as asked. Masked copies
are run by ``finercam.metrics.masked_runs``, for all maps and metrics together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError, check_between, nearest
from finercam.metrics.metric import metric
from finercam.metrics.view import OWN_FILL, UNMASKED, Cut, Needs, View

FILLS = ("mean", "black", "blur")
Fill: TypeAlias = Literal["", "mean", "black", "blur"]
#: Columns of probabilities beside the area: of the target and of class d, after each step.
CURVE, CURVE_OF_OTHER = "curve", "curve of other"
#: As many blocks a side as anyone's network has cells.
MOST_CELLS = 1024


def filling(
    images: Float[Tensor, "b c H W"],
    fill: str = "mean",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Float[Tensor, "b c H W"]:
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


def in_blocks(saliency: Float[Tensor, "b H W"], cells: int) -> Float[Tensor, "b H W"]:
    """Return maps in which every pixel has the mean of its block, with ``cells`` blocks along each side.

    Pixels of one block stay together in ``ranking`` (up to equal blocks, which go by pixel order). ``cells`` 0 returns
    the maps as they are.
    """
    if not cells:
        return saliency
    counts = [torch.arange(length, device=saliency.device) for length in saliency.shape[1:]]
    block = [count * min(cells, len(count)) // len(count) for count in counts]
    down, across = (torch.nn.functional.one_hot(one).to(torch.float64) for one in block)  # H h, W w
    means = (down / down.sum(0)).T @ saliency.double() @ (across / across.sum(0))
    return means[:, block[0]][:, :, block[1]]


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


def top_count(fraction: float, pixels: int) -> int:
    """Return floor(fraction * pixels), safe from the rounding of such fractions as 0.29 * 100."""
    if not 0 <= fraction <= 1:
        raise FinercamError(f"a fraction of pixels must lie between 0 and 1, not {fraction}")
    return math.floor(round(fraction * pixels, 6))


def check_fraction(fraction: float) -> None:
    """Refuse what is not a fraction above 0 and up to 1."""
    if not 0 < fraction <= 1:
        raise FinercamError(f"the fraction is {fraction}; it must lie above 0 and up to 1")


#: A run of the model for each: the paper's curves have 50 or so.
MOST_STEPS = 10_000


def _check_cells(cells: int) -> None:
    if not 0 <= cells <= MOST_CELLS:
        raise FinercamError(f"cells is {cells}; it must lie between 0 (pixel by pixel) and {MOST_CELLS}")


def _titled(name: str) -> Callable[..., str]:
    """Return what makes a drop's title: the name with its fraction, and what is not as in the paper."""

    def title(fraction: float, fill: Fill, cells: int) -> str:
        apart = ", ".join(one for one in (fill, f"{cells} cells" if cells else "") if one)
        return f"{name}@{fraction:g} ({apart})" if apart else f"{name}@{fraction:g}"

    return title


def _step_cuts(inserted: bool, steps: int, fill: str, cells: int) -> Callable[[int], Sequence[Cut]]:
    return lambda pixels: [
        # What shows the whole image is the same whatever the rest would be filled with.
        UNMASKED if not inserted and step == 0 else Cut(inserted, top_count(step / steps, pixels), fill, cells)
        for step in range(steps + 1)
    ]


def _deletion_needs(steps: int, fill: Fill, cells: int) -> Needs:
    check_between("steps", steps, 1, MOST_STEPS)
    _check_cells(cells)
    return Needs(cuts=_step_cuts(False, steps, fill, cells))


def _insertion_needs(steps: int) -> Needs:
    check_between("steps", steps, 1, MOST_STEPS)
    return Needs(cuts=_step_cuts(True, steps, OWN_FILL, 0))


def _curve(view: View, inserted: bool, steps: int, fill: str = OWN_FILL, cells: int = 0) -> dict[str, Tensor]:
    cuts = _step_cuts(inserted, steps, fill, cells)(view.pixels)
    curves = torch.stack([view.confidence(cut) for cut in cuts], 1)  # b n 2
    # Equal steps to within a pixel: of pixels really changed.
    fractions = torch.tensor([cut.count / view.pixels for cut in cuts], dtype=torch.float64, device=curves.device)
    area = torch.trapezoid(curves[..., 0].double(), fractions, dim=1)
    return {"": area, CURVE: curves[..., 0], CURVE_OF_OTHER: curves[..., 1]}


@metric("deletion", title="Del.", better="lower", needs=_deletion_needs, lists=(CURVE, CURVE_OF_OTHER))
def deletion(view: View, *, steps: int = 50, fill: Fill = OWN_FILL, cells: int = 0) -> dict[str, Tensor]:
    """Return the area under the target's probability as pixels are removed from the most to the least salient, 0 to 1.

    RISE (arXiv 1806.07421, Section 4.2): the fraction of pixels removed on the x axis, the trapezoidal rule. The
    curves of the target and of class d are kept too (arXiv 2501.11309, Fig. 5).

    Args:
        view: with confidences.
        steps: equal steps from none to all of the pixels.
        fill: what removed pixels are replaced by; the study's if left out.
        cells: pixels are removed in blocks, so many a side of the image, from the block with the largest mean; a map
            cannot gain by scattering its pixels then. 0 removes them one by one.
    """
    return _curve(view, False, steps, fill, cells)


@metric("insertion", title="Ins.", better="higher", needs=_insertion_needs, lists=(CURVE, CURVE_OF_OTHER))
def insertion(view: View, *, steps: int = 50) -> dict[str, Tensor]:
    """Return the area under the target's probability as pixels are given back to a blurred image, 0 to 1.

    As for ``deletion``, from the most to the least salient, starting from an image without detail.
    """
    return _curve(view, True, steps)


def _drop_needs(fraction: float, fill: Fill, cells: int) -> Needs:
    check_fraction(fraction)
    _check_cells(cells)
    return Needs(cuts=lambda pixels: (UNMASKED, Cut(False, top_count(fraction, pixels), fill, cells)))


def _fall(view: View, fraction: float, fill: str, cells: int) -> Float[Tensor, "b 2"]:
    masked = Cut(False, top_count(fraction, view.pixels), fill, cells)
    return view.confidence(UNMASKED) - view.confidence(masked)


@metric("confidence-drop", title=_titled("Drop"), better="higher", needs=_drop_needs)
def confidence_drop(
    view: View, *, fraction: float = 0.05, fill: Fill = OWN_FILL, cells: int = 0
) -> Float[Tensor, " b"]:
    """Return by how much the target's probability falls without the most salient pixels, ``p_c - p*_c``, -1 to 1.

    Args:
        view: with confidences.
        fraction: of pixels removed, rounded down.
        fill, cells: as for ``deletion``.
    """
    return _fall(view, fraction, fill, cells)[:, 0]


@metric("relative-drop", title=_titled("RD"), better="higher", needs=_drop_needs)
def relative_drop(view: View, *, fraction: float = 0.05, fill: Fill = OWN_FILL, cells: int = 0) -> Float[Tensor, " b"]:
    """Return by how much more the target's probability falls than the most similar class's without the most salient
    pixels, -2 to 2.

    ``(p_c - p*_c) - (p_d - p*_d)``, the relative drop (arXiv 2501.11309, Eq. 10). Class d is the most similar on the
    *unmasked* image; the same for every map that is compared.

    Args: as for ``confidence_drop``.
    """
    fall = _fall(view, fraction, fill, cells)
    return fall[:, 0] - fall[:, 1]


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
