"""Where a network's resolution changes: the last layer of each grid of cells."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from finercam.models.grid import infer_grid
from finercam.models.outputs import main_tensor
from finercam.models.passes import forward_pass, hooked
from finercam.models.undisturbed import device_of, undisturbed

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


@dataclass(frozen=True)
class Stage:
    """The last of the outermost layers whose outputs lie on one grid of cells.

    Attributes:
        layer: dotted name.
        cells: height and width of the grid.
    """

    layer: str
    cells: tuple[int, int]


_known: weakref.WeakKeyDictionary[nn.Module, tuple[Stage, ...]] = weakref.WeakKeyDictionary()


def stages(classifier: Classifier) -> tuple[Stage, ...]:
    """Return the stages of a classifier's network from fine to coarse, as one run on noise shows them.

    A stage ends where the resolution changes. Of the layers that put out a grid of that size the outermost are taken
    (whole stages before blocks, blocks before convolutions), and of these the one that runs last. In a vision
    transformer all tokens share one grid, so there is one stage.
    """
    module = classifier.module
    if module in _known:
        return _known[module]
    size = classifier.image_size
    stated = getattr(module, "num_prefix_tokens", None)
    last: dict[tuple[int, int], tuple[int, str]] = {}

    def record(name: str) -> Any:
        def hook(inner: nn.Module, args: Any, output: Any) -> None:
            tensor = main_tensor(output)
            if tensor is None or tensor.ndim not in (3, 4) or next(inner.parameters(), None) is None:
                return
            grid = infer_grid(tensor.shape, size, stated if isinstance(stated, int) else None)
            if grid is None:
                return
            h, w = grid.maps(tensor, size).shape[2:]
            depth = name.count(".")
            if (h, w) not in last or depth <= last[h, w][0]:
                last[h, w] = depth, name

        return hook

    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device_of(module))
    with undisturbed(module), hooked({inner: record(name) for name, inner in module.named_modules() if name}):
        forward_pass(module, noise, "float32")
    found = tuple(Stage(name, cells) for cells, (_, name) in sorted(last.items(), key=lambda one: -one[0][0]))
    _known[module] = found
    return found
