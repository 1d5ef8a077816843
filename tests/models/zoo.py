"""Every known family as a small model with seeded random weights that show where they look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from finercam.models.families import Family, families
from models.plans import SLOW, Plan, Size, maker_of, plan_of


@dataclass(frozen=True)
class Case:
    """A family with its plan."""

    family: Family
    plan: Plan
    make: Callable[[Size], nn.Module]

    @property
    def id(self) -> str:
        return f"{self.family.library}-{self.family.title}".replace(" ", "_").replace(",", "")

    @property
    def slow(self) -> bool:
        return self.family.example in SLOW.get(self.family.library, ())

    def build(self, size: Size) -> nn.Module:
        """Return the model for that size, in evaluation mode, the same every time."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            module = self.make(size).eval()
            wake(module)
            localise(module)
            calibrate(module, photos(size, self.plan.cells(size)))
        return module


def wake(module: nn.Module) -> None:
    """Give weights that start at zero, or so small that a block does nothing, random values."""
    with torch.no_grad():
        for inner in module.modules():
            if isinstance(inner, nn.modules.batchnorm._BatchNorm) and float(inner.weight.abs().mean()) < 0.5:
                inner.weight.uniform_(0.5, 1.5)
        for name, parameter in module.named_parameters():
            if float(parameter.abs().max()) < 1e-3:
                parameter.normal_(std=0.2 if parameter.ndim == 1 and "bias" not in name else 0.05)


def localise(module: nn.Module) -> None:
    """Have convolutions, and attention that has a bias for each offset, answer mostly to their own place.

    Random kernels spread what they see over the whole of a small image, and no cell stands for its place.
    """
    with torch.no_grad():
        for inner in module.modules():
            if isinstance(inner, nn.Conv2d) and max(inner.kernel_size) > max(inner.stride):
                h, w = inner.kernel_size
                before = inner.weight.norm()
                centre = inner.weight[:, :, h // 2, w // 2].clone()
                inner.weight /= h * w
                inner.weight[:, :, h // 2, w // 2] = centre
                # As strong as before, or the signal fades in a deep network.
                inner.weight *= before / inner.weight.norm()
            if type(inner).__name__ == "LinearSelfAttention":
                # One context for all places.
                inner.out_proj.weight *= 0.1
        for name, parameter in module.named_parameters():
            if name.endswith("attention_biases"):
                # The first offset is none.
                parameter[:, 0] = 8.0


def calibrate(module: nn.Module, images: torch.Tensor) -> None:
    """Have batch norms keep the scale of the signal, or it fades in a deep network.

    One number for all channels and no mean, unlike training: random networks with batch statistics are chaotic, and
    a patch changes everything everywhere.
    """

    def keep_scale(norm: nn.Module, args: tuple[torch.Tensor]) -> None:
        norm.running_mean.zero_()
        norm.running_var.fill_(float(args[0].square().mean()))

    norms = [inner for inner in module.modules() if isinstance(inner, nn.modules.batchnorm._BatchNorm)]
    handles = [norm.register_forward_pre_hook(keep_scale) for norm in norms]
    with torch.no_grad():
        module(images)
    for handle in handles:
        handle.remove()


Cell = tuple[int, int]


def far_corners(cells: Cell) -> list[Cell]:
    """The two corners at the far ends of the first row and of the first column."""
    return [(0, cells[1] - 1), (cells[0] - 1, 0)]


def photos(size: Size, cells: Cell) -> torch.Tensor:
    """Return a photo, and the same with a bright patch over the cell of one far corner and of the other."""
    generator = torch.Generator().manual_seed(3)
    coarse = nn.functional.interpolate(torch.randn(1, 3, 7, 7, generator=generator), size, mode="nearest")
    photo = 0.3 * coarse + 0.2 * torch.randn(1, 3, *size, generator=generator)
    images = photo.repeat(3, 1, 1, 1)
    h, w = size[0] // cells[0], size[1] // cells[1]
    colour = torch.tensor([3.0, -3.0, 3.0])[:, None, None]
    for image, (row, column) in zip(images[1:], far_corners(cells), strict=True):
        top, left = 0 if row == 0 else size[0] - h, 0 if column == 0 else size[1] - w
        image[:, top : top + h, left : left + w] = colour
    return images


def cases() -> list[Case]:
    return [Case(family, plan_of(family), maker_of(family)) for family in families()]
