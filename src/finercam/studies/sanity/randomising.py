"""Networks made random layer by layer, for the *parameter randomisation* test (MPRT; Adebayo et al., arXiv 1810.03292).

How alike are the maps of a network and of the same network with weights made random? A map that stays the same shows
the image, not the network. ``finercam.studies.sanity`` asks that; this file makes the networks.

Hedström et al. (arXiv 2401.06465) find plain MPRT confounded: from the top down, untouched lower layers keep passing
on what is in the image, and noise in either map lowers any similarity. So ``order="bottom-up"`` is here too, and the
check can average maps over noisy copies of an image before it compares them (their sMPRT). Their eMPRT, the rise in
the entropy of a map's histogram, is not: it sees structure turn into pixel noise, which a map of a few hundred cells,
resized smoothly, does not show. Absolute values, which they advise against as well, are never taken.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest

#: In which order layers are made random: one after another and staying so, from the last or the first; or singly.
ORDERS = ("top-down", "bottom-up", "independent")
REDRAWS = ("shuffle", "reset")

#: Buffers that were learned (of batch norms, also of those that are frozen). Others hold masks and positions.
_LEARNED = ("running_mean", "running_var", "weight", "bias")


def weighted_layers(module: nn.Module) -> list[str]:
    """Return the dotted names of all parts that have weights of their own, in the order in which they were made.

    The module itself, should it have some beside those of its parts (a transformer's class token and positions), is
    named by the empty text.
    """
    return [name for name, part in module.named_modules() if _learned(part)]


class Randomised:
    """A module made random layer by layer, as often as it is gone through.

    Going through it yields each layer's name and the module with that layer made random. What is yielded is one and
    the same *copy* of the module, changed further with every step: use it before taking the next, and do not go
    through it twice at a time. The module given is never changed, nor is any random number generator.

    The random values are drawn the first time and kept, so that to go through it again costs no more than copying the
    weights. Two further sets of weights are held in all: those of the copy, and the random ones.

    Args:
        module: any; it must stay as it is as long as this is used.
        layers: dotted names from the input to the output, of parts of any size: ``["conv1", "layer1", "fc"]`` takes
            four steps' worth of residual blocks in one. A part inside another listed one is its own step. All parts
            with weights of their own if left out, in the order in which they were made.
        order: ``top-down`` starts with the last layer and leaves it random when it goes on to those before
            (*cascading*); ``bottom-up`` does the same from the first; ``independent`` has one layer random at a time.
        redraw: ``shuffle`` puts the values of every tensor in another order, those of one length in a part alike, so
            that a norm's scale stays with its statistic. Whatever the kind of layer, nothing learned is left but
            the values' distribution, and the network neither explodes nor dies; a tensor of equal values stays as it
            is. ``reset`` draws them as for training from scratch, by the parts' own ``reset_parameters``.
        seed: a layer gets the same values in every order.

    Raises:
        FinercamError: an unknown option or layer, a layer without weights, a part that cannot be reset, or a module
            that cannot be copied.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        order: str = "top-down",
        redraw: str = "shuffle",
        seed: int = 0,
    ) -> None:
        self._steps = steps_of(module, layers, order, redraw)
        self._intact, self._copy = module, _copied(module)
        self._order, self._redraw, self._seed = order, redraw, seed
        self._random: dict[str, list[Tensor]] = {}

    def __iter__(self) -> Iterator[tuple[str, nn.Module]]:
        """Begin with the module as it was given."""
        for layer in self._steps:
            self._put_back(layer)
        for layer in self._steps if self._order == "bottom-up" else reversed(self._steps):
            for name, number in self._steps[layer].items():
                if name not in self._random:
                    part = self._intact.get_submodule(name)
                    self._random[name] = _drawn(part, self._redraw, (self._seed * 1_000_003 + number) % 2**63)
                _put(_learned(self._copy.get_submodule(name)), self._random[name])
            yield layer, self._copy
            if self._order == "independent":
                self._put_back(layer)

    def _put_back(self, layer: str) -> None:
        for name in self._steps[layer]:
            _put(_learned(self._copy.get_submodule(name)), _learned(self._intact.get_submodule(name)))


def steps_of(
    module: nn.Module, layers: Sequence[str] | None = None, order: str = "top-down", redraw: str = "shuffle"
) -> dict[str, dict[str, int]]:
    """Return, for each layer, its parts with weights and their numbers in the module; a part is in one layer only.

    Args:
        module, layers, order, redraw: as for ``Randomised``.

    Raises:
        FinercamError: an unknown option or layer, a layer without weights, or a part that cannot be reset.
    """
    for option, given, choices in (("order", order, ORDERS), ("redraw", redraw, REDRAWS)):
        if given not in choices:
            raise FinercamError(f"{option} is {given!r}; {nearest(given, choices)}")
    steps = _parts_of(module, weighted_layers(module) if layers is None else list(layers))
    if redraw == "reset":
        for name in (name for parts in steps.values() for name in parts):
            if not hasattr(module.get_submodule(name), "reset_parameters"):
                kind = type(module.get_submodule(name)).__name__
                raise FinercamError(
                    f"layer {name!r} ({kind}) does not say how its weights start out (it has no reset_parameters); "
                    "use redraw='shuffle'"
                )
    return steps


def _parts_of(module: nn.Module, layers: list[str]) -> dict[str, dict[str, int]]:
    parts = {name: number for number, name in enumerate(weighted_layers(module))}
    known = [name for name, _ in module.named_modules()]
    steps: dict[str, dict[str, int]] = {}
    for layer in layers:
        if layer not in known:
            raise FinercamError(f"there is no layer {layer!r}; {nearest(layer, known)}")
        steps[layer] = {}
    for name, number in parts.items():
        around = [layer for layer in steps if layer in ("", name) or name.startswith(f"{layer}.")]
        if around:
            steps[max(around, key=len)][name] = number
    if not steps:
        raise FinercamError(f"there is nothing to make random: {type(module).__name__} has no weights")
    for layer, own in steps.items():
        if not own:
            raise FinercamError(f"layer {layer!r} has no weights to make random (that no other layer listed has)")
    return steps


def _learned(part: nn.Module) -> list[Tensor]:
    """Return a part's own weights and running statistics, not those of parts inside it."""
    buffers = [buffer for name, buffer in part.named_buffers(recurse=False) if name in _LEARNED]
    return [tensor for tensor in (*part.parameters(recurse=False), *buffers) if tensor.is_floating_point()]


def _drawn(part: nn.Module, redraw: str, seed: int) -> list[Tensor]:
    """Return other values for a part's weights: the same on every device."""
    if redraw == "shuffle":
        values = []
        for tensor in _learned(part):
            # Begun anew for each tensor: those of one length get one order.
            order = torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(seed))
            values.append(tensor.detach().flatten()[order.to(tensor.device)].view_as(tensor))
        return values
    fresh = copy.deepcopy(part).cpu()
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        fresh.reset_parameters()  # type: ignore[operator]
    return _learned(fresh)


@torch.inference_mode(False)
@torch.no_grad()
def _put(tensors: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@torch.inference_mode(False)
def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise FinercamError(
            f"this {type(module).__name__} cannot be copied ({next(iter(str(error).splitlines()), '')}), and the "
            "original must not be changed; build it without what cannot be copied"
        ) from error
