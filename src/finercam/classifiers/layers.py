"""Finding the target layer and its grid by watching the model run, not by the model's name.

The layer wanted is the last one whose output lies on a grid of cells over the image and on every cell of which
the logits depend. In a network with pooling that is the map that is pooled. In a vision transformer with a
class-token head the last block's patches lead nowhere, and the layer found is the norm that opens that block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest
from finercam.grid import Grid, infer_grid
from finercam.running import device_of, hooked, main_tensor, run, tapped_run, undisturbed

#: How many of the last module calls are looked through, and how many candidates are tried in one run.
_WINDOW, _AT_ONCE = 160, 8


@dataclass(frozen=True)
class FoundLayers:
    """Target layers, how they lie over the image, and the final linear layer."""

    layers: tuple[str, ...]
    grids: tuple[Grid, ...]
    head: nn.Linear | None
    pooled: bool
    classes: int


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    given: Any
    output: Tensor


def find_layers(
    module: nn.Module,
    image_size: tuple[int, int],
    read: Callable[[Any], Tensor],
    layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
    grid: Grid | None = None,
) -> FoundLayers:
    """Run the module on noise and return its target layers; see the head of this file.

    Raises:
        FinercamError: the module does not run on such images, a named layer does not exist or has no grid, or
            no layer fits. The message says which argument would help.
    """
    names = None if layer is None else _names(module, layer)
    noise = torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0)).to(device_of(module))
    with undisturbed(module):
        calls, logits = _watch(module, noise, read, names)
        head_call = _head(calls, logits)
        prefix = _stated_prefix(module)
        if names is None:
            names = (_last_that_matters(module, noise, read, calls, grid, prefix),)
        outputs = {call.name: call.output for call in calls}
        unreached = [name for name in names if name not in outputs]
        if unreached:
            raise FinercamError(f"layer {unreached[0]!r} is not used in the forward pass; choose another")
        grids = tuple(grid or _grid(outputs[name], image_size, prefix, name) for name in names)
        maps = grids[0].maps(outputs[names[0]], image_size)
    head = head_call.module if head_call is not None else None
    assert head is None or isinstance(head, nn.Linear)
    pooled = len(names) == 1 and head_call is not None and _is_mean(head_call.given, maps)
    return FoundLayers(names, grids, head, pooled, logits.shape[1])


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


def _watch(
    module: nn.Module, noise: Tensor, read: Callable[[Any], Tensor], names: tuple[str, ...] | None
) -> tuple[list[_Call], Tensor]:
    """Return the last calls in order of completion (and those of the named layers) and the logits."""
    recent: deque[_Call] = deque(maxlen=_WINDOW)
    named: dict[str, _Call] = {}

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(inner: nn.Module, args: Any, output: Any) -> None:
            tensor = main_tensor(output)
            if tensor is not None:
                call = _Call(name, inner, args[0] if args else None, tensor)
                recent.append(call)
                if names is not None and name in names:
                    named[name] = call

        return hook

    try:
        with hooked({inner: record(name) for name, inner in module.named_modules() if name}):
            output = run(module, noise, "float32")
    except FinercamError:
        raise
    except Exception as error:
        raise FinercamError(
            f"the model does not run on an image of {noise.shape[2]} x {noise.shape[3]} pixels "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); give image_size=(H, W)"
        ) from error
    return [call for call in named.values() if call not in recent] + list(recent), read(output)


def _head(calls: list[_Call], logits: Tensor) -> _Call | None:
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
    mean = maps.to(torch.promote_types(maps.dtype, torch.float32)).mean((2, 3))
    tolerance = 32 * torch.finfo(given.dtype).eps * float(mean.abs().amax())
    return bool(torch.allclose(given.to(mean), mean, rtol=0, atol=tolerance))


def _stated_prefix(module: nn.Module) -> int | None:
    """Return how many tokens come before the patches, where the model says so (timm's attribute)."""
    stated = getattr(module, "num_prefix_tokens", None)
    return stated if isinstance(stated, int) else None


def _grid(output: Tensor, image_size: tuple[int, int], prefix: int | None, name: str) -> Grid:
    grid = infer_grid(output.shape, image_size, prefix) or infer_grid(output.shape, image_size)
    if grid is None:
        raise FinercamError(
            f"layer {name!r} puts out the shape {tuple(output.shape)}, which is no grid of cells over an image of "
            f"{image_size[0]} x {image_size[1]}; choose another layer, or give grid=Grid(...)"
        )
    return grid


def _last_that_matters(
    module: nn.Module,
    noise: Tensor,
    read: Callable[[Any], Tensor],
    calls: list[_Call],
    grid: Grid | None,
    prefix: int | None,
) -> str:
    """Return the name of the last layer on a grid on every cell of which the logits depend."""
    size = (noise.shape[2], noise.shape[3])
    candidates: list[tuple[str, Grid]] = []
    for name, call in _distinct(calls):
        found = grid or infer_grid(call.output.shape, size, prefix) or infer_grid(call.output.shape, size)
        if found is not None and _is_trunk(call):
            candidates.append((name, found))
    for start in range(0, len(candidates), _AT_ONCE):
        some = candidates[start : start + _AT_ONCE]
        for (name, found), gradient in zip(some, _gradients(module, noise, read, [n for n, _ in some]), strict=True):
            if gradient is None:
                continue
            cells = found.maps(gradient, size).abs().amax(1) > 0
            if float(cells.float().mean()) > 0.5:
                return name
    raise FinercamError(
        "no layer was found whose output lies on a grid over the image and decides the logits; give layer= (a "
        f"module or its name) and, if its output is unusual, grid=Grid(...); the last layers that run are: "
        f"{', '.join(dict.fromkeys(call.name for call in calls[-12:]))}"
    )


def _distinct(calls: list[_Call]) -> list[tuple[str, _Call]]:
    """Return the calls from the last to the first, one per tensor, under the outermost module's name.

    A stage, its last block and that block's activation return one and the same tensor; so do dropout and identity.
    """
    by_tensor: dict[int, list[_Call]] = {}
    for call in reversed(calls):
        by_tensor.setdefault(id(call.output), []).append(call)
    named = []
    for same in by_tensor.values():
        real = [call for call in same if not isinstance(call.module, (nn.Identity, nn.Dropout))] or same
        call = min(real, key=lambda call: call.name.count("."))
        named.append((call.name, call))
    return named


def _is_trunk(call: _Call) -> bool:
    """Whether the output is the network's running description of the image, not something inside attention.

    Queries, keys, values and the hidden layers of an MLP are the output of single linear layers or activations,
    and so is nothing on the trunk of a transformer but what its norms and whole blocks put out.
    """
    leaf = next(call.module.children(), None) is None
    if isinstance(call.module, (nn.Linear, nn.Dropout, nn.Identity, nn.Softmax)):
        return False
    if call.output.ndim == 3 and leaf:
        return "norm" in type(call.module).__name__.lower() or isinstance(call.module, nn.LayerNorm)
    return True


def _gradients(
    module: nn.Module, noise: Tensor, read: Callable[[Any], Tensor], names: list[str]
) -> list[Tensor | None]:
    """Return the gradient of a random mixture of the logits with respect to each layer's output."""
    output, taps = tapped_run(module, noise, names, differentiate=True)
    logits = read(output)
    if not logits.requires_grad:
        return [None] * len(names)
    # A mixture: the plain sum is constant where the outputs are probabilities.
    mixture = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
    return list(torch.autograd.grad(logits, [taps[name] for name in names], mixture, allow_unused=True))
