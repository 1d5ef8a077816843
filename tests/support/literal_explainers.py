"""The explainers' formulas as they stand: one image, float64, plain loops, nothing shared with the package.

A row is a question's coefficients over the classes (C); ``net`` maps images to logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Net = Callable[[Tensor], Tensor]


# --- pixels ------------------------------------------------------------------------------------------------------


def pixel_gradient(net: Net, image: Tensor, row: Tensor) -> Tensor:
    """``grad_x row . f(x)``."""
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((net(leaf[None])[0] * row).sum(), leaf)
    return gradient


def over_channels(values: Tensor) -> Tensor:
    out = torch.zeros(values.shape[1:], dtype=torch.float64)
    for channel in values:
        out = out + channel
    return out


def box(image: Tensor, reach: int, beyond: str) -> Tensor:
    """The mean over (2 reach + 1)^2 pixels; beyond the border there is nothing, or the nearest pixel."""
    height, width = image.shape
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for di in range(-reach, reach + 1):
                for dj in range(-reach, reach + 1):
                    y, x = i + di, j + dj
                    if beyond == "nearest":
                        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    if 0 <= y < height and 0 <= x < width:
                        total += float(image[y, x])
            out[i, j] = total / (2 * reach + 1) ** 2
    return out


def smoothed(pixels: Tensor, reach: int) -> Tensor:
    return box(box(pixels, reach, "nothing"), reach, "nothing")


def blurred(image: Tensor, reach: int) -> Tensor:
    """A box of odd side three times over, each channel alone."""
    for _ in range(3):
        image = torch.stack([box(channel, reach, "nearest") for channel in image])
    return image


def gradient_x_input(net: Net, image: Tensor, row: Tensor) -> Tensor:
    """Shrikumar et al., Section 3.2."""
    return over_channels(image * pixel_gradient(net, image, row))


def smooth_gradient_x_input(net: Net, image: Tensor, row: Tensor, share: float, noises: Sequence[Tensor]) -> Tensor:
    """Smilkov et al., Section 3: the mean gradient of noisy copies, times the image."""
    sigma = share * (float(image.max()) - float(image.min()))
    total = torch.zeros_like(image)
    for noise in noises:
        total = total + pixel_gradient(net, image + sigma * noise, row)
    return over_channels(image * total / len(noises))


def integrated_gradients(net: Net, image: Tensor, row: Tensor, start: Tensor, steps: int) -> Tensor:
    """Sundararajan et al., Eq. 3, the sum's points in the middle of its pieces."""
    total = torch.zeros_like(image)
    for k in range(steps):
        total = total + pixel_gradient(net, start + (k + 0.5) / steps * (image - start), row)
    return over_channels((image - start) * total / steps)


# --- occlusion ---------------------------------------------------------------------------------------------------


def occlusion(
    net: Net, image: Tensor, row: Tensor, fill: Tensor, side: tuple[int, int], tops: Sequence[int], lefts: Sequence[int]
) -> Tensor:
    """Each pixel the mean of the falls of the windows that cover it."""
    total, count = torch.zeros(image.shape[1:], dtype=torch.float64), torch.zeros(image.shape[1:], dtype=torch.float64)
    with torch.no_grad():
        whole = float((net(image[None])[0] * row).sum())
        for top in tops:
            for left in lefts:
                covered = image.clone()
                for y in range(top, top + side[0]):
                    for x in range(left, left + side[1]):
                        covered[:, y, x] = fill[:, y, x]
                fall = whole - float((net(covered[None])[0] * row).sum())
                for y in range(top, top + side[0]):
                    for x in range(left, left + side[1]):
                        total[y, x] += fall
                        count[y, x] += 1
    return total / count


# --- layers ------------------------------------------------------------------------------------------------------


def layer_gradient(rest: Net, output: Tensor, row: Tensor) -> Tensor:
    """The gradient of ``row . rest(output)``, without the batch: K h w."""
    leaf = output.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((rest(leaf[None])[0] * row).sum(), leaf)
    return gradient


def contributions(output: Tensor, gradient: Tensor) -> Tensor:
    """``sum_k relu(B_k dD/dB_k)``, cell by cell."""
    out = torch.zeros(output.shape[1:], dtype=torch.float64)
    for k in range(len(output)):
        for i in range(output.shape[1]):
            for j in range(output.shape[2]):
                out[i, j] += max(float(output[k, i, j]) * float(gradient[k, i, j]), 0.0)
    return out


def geometric(maps: Sequence[Tensor], offset: float) -> Tensor:
    """``(prod_i (M_i / max M_i + e)) ^ (1/n) - e``, times the geometric mean of the maxima; all of one size."""
    out, peaks = torch.ones_like(maps[0]), 1.0
    for one in maps:
        peak = float(one.max())
        out = out * ((one / peak if peak > 0 else torch.zeros_like(one)) + offset)
        peaks *= peak
    return (out ** (1 / len(maps)) - offset) * peaks ** (1 / len(maps))


# --- relevance ---------------------------------------------------------------------------------------------------


def _stabilized(value: Tensor) -> Tensor:
    return value + 1e-6 * torch.where(value >= 0, 1.0, -1.0)


def windows(given: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Each output cell's input window, (h w) (K kernel kernel), zero beyond the border."""
    padded = nn.functional.pad(given, (padding,) * 4)
    _, height, width = padded.shape
    places = [(i, j) for i in range(0, height - kernel + 1, stride) for j in range(0, width - kernel + 1, stride)]
    return torch.stack([padded[:, i : i + kernel, j : j + kernel].flatten() for i, j in places])


def spread(shares: Tensor, like: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """The windows' shares added up where they lie: ``windows`` backwards."""
    height, width = like.shape[1] + 2 * padding, like.shape[2] + 2 * padding
    out, number = torch.zeros(len(like), height, width, dtype=torch.float64), 0
    for i in range(0, height - kernel + 1, stride):
        for j in range(0, width - kernel + 1, stride):
            out[:, i : i + kernel, j : j + kernel] += shares[number].unflatten(0, (len(like), kernel, kernel))
            number += 1
    return out[:, padding : height - padding, padding : width - padding]


def z_plus(given: Tensor, weight: Tensor, relevance: Tensor, stride: int, padding: int) -> Tensor:
    """Bach et al. with alpha 1, beta 0 and no bias: ``R_i = sum_j (x_i w_ij)+ / sum_i (x_i w_ij)+ R_j``."""
    cut, flat = windows(given, weight.shape[2], stride, padding), weight.flatten(1)
    shares = torch.zeros_like(cut)
    for j, of_output in enumerate(relevance.flatten(1)):
        added = (cut * flat[j]).clamp(min=0)
        shares = shares + added / _stabilized(added.sum(1))[:, None] * of_output[:, None]
    return spread(shares, given, weight.shape[2], stride, padding)


def flat_rule(given: Tensor, weight: Tensor, relevance: Tensor, stride: int, padding: int) -> Tensor:
    """Each window's inputs share its relevance alike; what lies beyond the border has none."""
    inside = windows(torch.ones_like(given), weight.shape[2], stride, padding)
    shares = torch.zeros_like(inside)
    for of_output in relevance.flatten(1):
        shares = shares + inside / _stabilized(inside.sum(1))[:, None] * of_output[:, None]
    return spread(shares, given, weight.shape[2], stride, padding)


def epsilon(given: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """``R_i = sum_j x_i w_ji / (sum_i x_i w_ji + eps) R_j``, no bias."""
    added = given * weight
    return (added / _stabilized(added.sum(1))[:, None] * relevance[:, None]).sum(0)
