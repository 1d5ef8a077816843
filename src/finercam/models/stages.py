"""Where a network's resolution changes: which layers put out a grid of cells, and how fine it is."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn

from finercam.models.grid import Grid, grid_as
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


_Cells: TypeAlias = "dict[str, tuple[int, int]]"
_known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[tuple[int, int], tuple[Grid, ...]], _Cells]]
_known = weakref.WeakKeyDictionary()


def layer_cells(classifier: Classifier) -> dict[str, tuple[int, int]]:
    """Return height and width of each layer's grid of cells, in the order in which layers end (for the last time).

    Layers whose output is not a grid are left out. One run on noise shows it; it is not repeated for the same module
    and input size.
    """
    module, size = classifier.module, classifier.image_size
    known = _known.setdefault(module, {})
    key = (size, classifier.grids)
    if key in known:
        return known[key]
    stated = getattr(module, "num_prefix_tokens", None)
    found: dict[str, tuple[int, int]] = {}

    def record(name: str) -> Any:
        def hook(inner: nn.Module, args: Any, output: Any) -> None:
            tensor = main_tensor(output)
            found.pop(name, None)
            grid = None if tensor is None else grid_as(tensor.shape, size, classifier.grids, stated)
            if tensor is not None and grid is not None:
                h, w = grid.maps(tensor, size).shape[2:]
                found[name] = h, w

        return hook

    noise = classifier.noise().to(device_of(module))
    with undisturbed(module), hooked({inner: record(name) for name, inner in module.named_modules() if name}):
        forward_pass(module, noise, "float32")
    known[key] = found
    return found


def stages(classifier: Classifier) -> tuple[Stage, ...]:
    """Return the stages of a classifier's network from fine to coarse.

    A stage ends where the resolution changes. Of the layers with parameters that put out a grid of that size the
    outermost are taken (whole stages before blocks, blocks before convolutions), and of these the one that runs last.
    In a vision transformer all tokens share one grid, so there is one stage.
    """
    last: dict[tuple[int, int], str] = {}
    for name, cells in layer_cells(classifier).items():
        learned = next(classifier.module.get_submodule(name).parameters(), None) is not None
        if learned and (cells not in last or name.count(".") <= last[cells].count(".")):
            last[cells] = name
    return tuple(Stage(name, cells) for cells, name in sorted(last.items(), key=lambda one: -one[0][0]))
