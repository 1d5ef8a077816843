"""A vision classifier, and what must be known about it to explain it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.contrast.labels import Labels, display_name
from finercam.errors import FinercamError
from finercam.models.grid import Grid
from finercam.models.layers import find_layers
from finercam.models.running import device_of, read_logits, run, undisturbed


@dataclass(frozen=True, eq=False)
class Classifier:
    """A module with its target layer, grid, preprocessing and class names.

    What is not given is found by running the module once on noise: the last layer whose output lies on a grid
    over the image and whose every cell the logits depend on.

    Args:
        module: any ``nn.Module`` that maps images b 3 H W to logits b C, on its own or inside a tuple, mapping or
            dataclass. It is never changed.
        layer: the target layer, as a module inside ``module`` or its dotted name; several are averaged.
        grid: how the layers' outputs lie over the image.
        preprocess: turns an RGB ``PIL.Image`` into a tensor 3 H W. Needed for photos, not for tensors.
        class_names: in the order of the logits.
        read: takes what the module returns, gives the logits.
        image_size: height and width of the input the module is tried on.
        mean, std: what ``preprocess`` normalised by, per channel; used to show the picture again.
        name: shown and recorded.
    """

    module: nn.Module
    layer: InitVar[str | nn.Module | Sequence[str | nn.Module] | None] = None
    grid: InitVar[Grid | None] = None
    preprocess: Callable[[Any], Tensor] | None = None
    class_names: InitVar[Iterable[str] | None] = None
    read: Callable[[Any], Tensor] = read_logits
    image_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    name: str = ""

    #: Dotted names of the target layers and how each lies over the image.
    layers: tuple[str, ...] = field(init=False)
    grids: tuple[Grid, ...] = field(init=False)
    labels: Labels | None = field(init=False)
    #: The final linear layer, if the logits are its output; its rows are what ``against="weights"`` compares.
    head: nn.Linear | None = field(init=False)
    #: Whether the logits are ``head`` applied to the mean of the target layer's cells: the closed form is exact.
    pooled: bool = field(init=False)
    #: How many logits there are.
    classes: int = field(init=False)
    #: Whether images are given in the memory order b H W 3, in which convolutions are faster.
    channels_last: bool = field(init=False)

    def __post_init__(
        self,
        layer: str | nn.Module | Sequence[str | nn.Module] | None,
        grid: Grid | None,
        class_names: Iterable[str] | None,
    ) -> None:
        if not isinstance(self.module, nn.Module):
            raise FinercamError(f"module must be a torch.nn.Module, not {type(self.module).__name__}")
        if isinstance(self.module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            object.__setattr__(self, "module", self.module.module)
        # A compiled module calls its original without hooks; the original gives the same answers.
        object.__setattr__(self, "module", getattr(self.module, "_orig_mod", self.module))
        found = find_layers(self.module, self.image_size, self.read, layer, grid)
        labels = None if class_names is None else Labels(class_names)
        if labels is not None and len(labels) != found.classes:
            raise FinercamError(f"{len(labels)} class names were given for a model with {found.classes} logits")
        for key, value in {
            "layers": found.layers,
            "grids": found.grids,
            "labels": labels,
            "head": found.head,
            "pooled": found.pooled,
            "classes": found.classes,
            "channels_last": found.grids[0].layout == "nchw" and _runs_channels_last(self),
            "name": self.name or type(self.module).__name__,
        }.items():
            object.__setattr__(self, key, value)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self.module)

    def take(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
        """Return the images on the model's device, in the memory order it is fastest in."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(self.device).contiguous(memory_format=order)

    @property
    def rows(self) -> Float[Tensor, "C K"] | None:
        """The classifier's rows, where it ends in a linear layer."""
        return None if self.head is None else self.head.weight.detach()

    def class_name(self, index: int) -> str:
        """Return the name of a class, or ``class 7`` where there are no names."""
        return display_name(index, self.labels)


def _runs_channels_last(classifier: Classifier) -> bool:
    """Whether the module takes the other memory order: a ``view`` on a convolution's output, for one, does not."""
    noise = torch.randn(1, 3, *classifier.image_size, generator=torch.Generator().manual_seed(0))
    with undisturbed(classifier.module):
        try:
            reordered = run(classifier.module, noise.contiguous(memory_format=torch.channels_last), "float32")
        except RuntimeError:
            return False
        usual, other = (classifier.read(output) for output in (run(classifier.module, noise, "float32"), reordered))
    return bool(torch.allclose(usual, other, rtol=0, atol=1e-2 * float(usual.abs().amax())))
