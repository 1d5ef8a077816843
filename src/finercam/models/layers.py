"""Finding the target layer and its grid by watching the model run, not by the model's name.

The layer wanted is the last one whose output lies on a grid of cells over the image, on whose cells the logits
depend, and past which nothing of the image reaches them. In a network with pooling that is the map that is
pooled. In a vision transformer with a class-token head the last block's patches lead nowhere, and the layer found
is the norm that opens that block; there the class token may carry what earlier blocks told it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest
from finercam.models.assumed import refuse_squashed
from finercam.models.closed_form import does_what_it_says, is_plain
from finercam.models.grid import Grid, infer_grid
from finercam.models.trial import Call, Trial, Watched, outermost_first, trial
from finercam.models.undisturbed import undisturbed

#: How many candidates are looked at in one run, and after how many that matter the search for one that nothing
#: gets round is given up: a network of two towers has none.
_AT_ONCE, _TRIES = 8, 12
#: The share of cells that must matter. A class token reads none of its neighbours in the end; where a maximum is
#: taken over the cells, each channel reads one.
_ENOUGH = 0.1


@dataclass(frozen=True)
class FoundLayers:
    """Target layers, how they lie over the image, and the final linear layer."""

    layers: tuple[str, ...]
    grids: tuple[Grid, ...]
    head: nn.Linear | None
    pooled: bool
    classes: int


def find_layers(
    module: nn.Module,
    image_size: tuple[int, int],
    read: Callable[[Any], Tensor],
    layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
    grid: Grid | None = None,
    channels: int = 3,
) -> FoundLayers:
    """Run the module on noise and return its target layers; see the head of this file.

    Raises:
        FinercamError: the module does not run on such images, a named layer does not exist or has no grid, or
            no layer fits. The message says which argument would help.
    """
    names = None if layer is None else _names(module, layer)
    with undisturbed(module):
        tried = trial(module, image_size, read, channels)
        seen = tried.watch(names or ())
        named = seen.named
        lie = _how_calls_lie(tried, seen, grid)
        if names is None:
            chosen = _last_that_matters(tried, seen, lie)
            names, named = (chosen.name,), {chosen.name: chosen}
        unreached = [name for name in names if name not in named]
        if unreached:
            raise FinercamError(f"layer {unreached[0]!r} is not used in the forward pass; choose another")
        grids = tuple(grid or _grid(named[name], lie, image_size) for name in names)
        maps = grids[0].maps(named[names[0]].output, image_size)
        refuse_squashed(tried, seen.logits)
        linear, given = _head(seen)
        pooled = linear is not None and is_plain(linear) and len(names) == 1 and not named[names[0]].changed_since
        pooled = pooled and _is_mean(given, maps)
    return FoundLayers(names, grids, linear, pooled, seen.logits.shape[1])


def _head(seen: Watched) -> tuple[nn.Linear | None, Any]:
    """Return the linear layer that makes the logits by its weight and bias, and what it was given."""
    call = head_call(seen.calls, seen.logits)
    # A head whose output is changed in place (scaled, say) no longer gives the logits.
    if call is None or call.changed_since or not isinstance(call.module, nn.Linear):
        return None, None
    given = call.given
    if not isinstance(given, Tensor) or given.ndim != 2 or not does_what_it_says(call.module, given, seen.logits):
        return None, None
    return call.module, given


def _names(module: nn.Module, layer: str | nn.Module | Sequence[str | nn.Module]) -> tuple[str, ...]:
    layers = [layer] if isinstance(layer, (str, nn.Module)) else list(layer)
    known = {name: inner for name, inner in module.named_modules() if name}
    by_identity = {id(inner): name for name, inner in known.items()}
    names = []
    for given in layers:
        if isinstance(given, nn.Module):
            if id(given) not in by_identity:
                raise FinercamError(f"the layer given ({type(given).__name__}) is not part of the model")
            names.append(by_identity[id(given)])
        elif given in known:
            names.append(given)
        else:
            raise FinercamError(f"the model has no layer {given!r}; {nearest(given, known)}")
    if not names:
        raise FinercamError("layer is an empty list; name at least one layer, or leave it out")
    return tuple(names)


def head_call(calls: list[Call], logits: Tensor) -> Call | None:
    """Return the call of the linear layer whose output the logits are."""
    for call in reversed(calls):
        same = call.output.shape == logits.shape and call.output.data_ptr() == logits.data_ptr()
        if isinstance(call.module, nn.Linear) and same:
            return call
    return None


def _is_mean(given: Any, maps: Tensor) -> bool:
    """Whether the linear layer was given the mean of the map's cells, up to rounding."""
    if not isinstance(given, Tensor) or given.shape != maps.shape[:2]:
        return False
    precise = maps.to(torch.promote_types(maps.dtype, torch.float32))
    # A sum over many cells rounds at each addition; what is kept in half precision was summed in float32.
    rounding = max(32 * torch.finfo(precise.dtype).eps, 2 * torch.finfo(given.dtype).eps)
    off = (given.to(precise) - precise.mean((2, 3))).abs()
    return bool((off <= rounding * precise.abs().mean((2, 3))).all())


def _how_calls_lie(tried: Trial, seen: Watched, grid: Grid | None) -> Callable[[Call], Grid | None]:
    """Return the function that says how a call's output lies over the image."""
    stated = getattr(tried.module, "num_prefix_tokens", None)
    # timm's models say how many tokens come before the patches. It need not hold for every layer: in CaiT the
    # class token joins late, and prompts may have joined since.
    prefixes = [stated, None] if isinstance(stated, int) else [None]
    shown = {} if grid is not None else tried.prefixes(seen)

    def lie(call: Call) -> Grid | None:
        if grid is not None:
            return grid if _fits(grid, call.output, tried.size) else None
        shape = tuple(call.output.shape)
        if shape in shown:
            return None if shown[shape] is None else infer_grid(shape, tried.size, shown[shape])
        found = (infer_grid(shape, tried.size, prefix, seen.cells) for prefix in prefixes)
        return next((one for one in found if one is not None), None)

    return lie


def _fits(grid: Grid, output: Tensor, image_size: tuple[int, int]) -> bool:
    try:
        return max(grid.maps(output, image_size).shape[2:]) > 1
    except FinercamError:
        return False


def _grid(call: Call, lie: Callable[[Call], Grid | None], image_size: tuple[int, int]) -> Grid:
    grid = lie(call)
    if grid is None:
        raise FinercamError(
            f"layer {call.name!r} puts out the shape {tuple(call.output.shape)}, which is not a grid of cells over an "
            f"image of {image_size[0]} x {image_size[1]}; choose another layer, or give grid=Grid(...)"
        )
    return grid


def _last_that_matters(tried: Trial, seen: Watched, lie: Callable[[Call], Grid | None]) -> Call:
    """Return the last call on a grid on whose cells the logits depend, and that nothing gets round.

    Where every such layer is got round, as in a network of two towers, the last one is returned.
    """
    # A part that runs several times is tapped at its last.
    last = {call.name: call for call in seen.calls}
    candidates = [
        (call, grid)
        for call in outermost_first(seen.calls)
        if last[call.name] is call and _is_trunk(call) and (grid := lie(call)) is not None
    ]
    mattering: list[Call] = []
    for start in range(0, len(candidates), _AT_ONCE):
        some = candidates[start : start + _AT_ONCE]
        for (call, grid), found in zip(some, tried.dependence([call.name for call, _ in some]), strict=True):
            if found.gradient is None:
                continue
            cells = grid.maps(found.gradient, tried.size).abs().amax(1) > 0
            if float(cells.float().mean()) < _ENOUGH:
                continue
            if grid.prefix or not tried.gets_round(call.name, found.output, seen.logits):
                return call
            mattering.append(call)
            if len(mattering) == _TRIES:
                return mattering[0]
    if mattering:
        return mattering[0]
    known = ", ".join(dict.fromkeys(call.name for call in seen.calls[-12:]))
    if candidates:
        raise FinercamError(
            "the logits do not depend on any layer whose output lies on a grid over the image: the head may be "
            "untrained (all zero), or what is between may not be differentiable; otherwise give layer= (a module or "
            f"its name); the last layers that run are: {known}"
        )
    raise FinercamError(
        f"no layer's output lies on a grid of cells over an image of {tried.size[0]} x {tried.size[1]}; give layer= "
        f"(a module or its name) and grid=Grid(...), how its output lies; the last layers that run are: {known}"
    )


def _is_trunk(call: Call) -> bool:
    """Whether the output is the network's running description of the image, not something inside attention.

    Queries, keys, values and the hidden layers of an MLP are the output of single linear layers or activations,
    and so is nothing on the trunk of a transformer but what its norms and whole blocks put out. Average pooling
    has only less to show than what it pools.
    """
    module = call.module
    if isinstance(module, (nn.Dropout, nn.Identity, nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
        return False
    if call.output.ndim == 3 and next(module.children(), None) is None:
        # Batch norm of three dimensions has its channels in the middle.
        return "norm" in type(module).__name__.lower() and not isinstance(module, nn.modules.batchnorm._BatchNorm)
    return True
