"""One pass through a model: with hooks that leave no trace, and outputs tapped on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models.outputs import main_tensor, with_main_tensor
from finercam.models.run import PRECISIONS


@contextmanager
def hooked(
    hooks: Mapping[nn.Module, Callable[[nn.Module, Any, Any], Any]],
    before: Mapping[nn.Module, Callable[[nn.Module, Any], Any]] | None = None,
) -> Iterator[None]:
    """Attach forward hooks (and hooks before the forward) that fire in this thread only, and take them off again."""
    owner = threading.get_ident()

    def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda module, *given: hook(module, *given) if threading.get_ident() == owner else None

    handles = [module.register_forward_hook(in_this_thread(hook)) for module, hook in hooks.items()]
    handles += [module.register_forward_pre_hook(in_this_thread(hook)) for module, hook in (before or {}).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward_pass(module: nn.Module, images: Tensor, precision: str) -> Any:
    """Return the module's output for a batch, moved and cast to where its weights are."""
    copies = {}
    if any(tensor.is_inference() for tensor in chain(module.parameters(), module.buffers())):
        # Tensors made under inference mode cannot be saved for a backward pass; their copies can.
        weights = chain(module.named_parameters(), module.named_buffers())
        copies = {name: tensor.clone() for name, tensor in weights}
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if images.is_inference():
        images = images.clone()
    if parameter is not None:
        images = images.to(parameter.device, parameter.dtype)
    with autocast(images.device, precision):
        return torch.func.functional_call(module, copies, (images,)) if copies else module(images)


def tapped_run(
    module: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    *,
    precision: str = "float32",
    differentiate: bool = False,
    edit: Callable[[str, Tensor], Tensor] | None = None,
) -> tuple[Any, dict[str, Tensor]]:
    """Return the module's output, and what the named layers put out. Only inside ``undisturbed``.

    A layer that runs several times is tapped at its last. A layer that does not run is missing from the result.

    Args:
        module, images, precision: as for ``forward_pass``.
        layers: dotted names.
        differentiate: record the graph from the first of these layers on; what comes before has none.
        edit: gets a layer's name and output and returns what the rest of the model shall see instead.
    """
    taps: dict[str, Tensor] = {}

    def tap(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(inner: nn.Module, args: Any, output: Any) -> Any:
            tensor = main_tensor(output)
            if tensor is None:
                raise FinercamError(f"layer {name!r} returns no tensor; choose another with layer=")
            if differentiate:
                # A layer behind another tapped one stays in that one's graph, by a node of its own: what the layer
                # itself went on to compute from this tensor is none of its output's doing.
                taps[name] = tensor.clone() if tensor.requires_grad else tensor.detach().requires_grad_()
                torch.set_grad_enabled(True)
            else:
                taps[name] = tensor
            # The rest gets a copy: it may work in place, which would change what was captured.
            rest = taps[name].clone() if edit is None else edit(name, taps[name])
            return with_main_tensor(output, rest)

        return hook

    hooks: dict[nn.Module, Callable[[nn.Module, Any, Any], Any]] = {}
    if differentiate and len(images) == 1:
        norms = (inner for inner in module.modules() if isinstance(inner, nn.modules.batchnorm._NormBase))
        hooks = dict.fromkeys(norms, _even_out_gradient)
    hooks |= {module.get_submodule(name): tap(name) for name in layers}
    try:
        with hooked(hooks):
            return forward_pass(module, images, precision), taps
    finally:
        torch.set_grad_enabled(False)


def _even_out_gradient(inner: nn.Module, args: Any, output: Any) -> None:
    """Have the gradient that arrives at a batch or instance norm lie evenly in memory.

    Tokens made by ``flatten(2).transpose(1, 2)`` send back a gradient whose stride over a batch of one is
    arbitrary; PyTorch's backward of these norms on the CPU (up to 2.13 at least) reads it wrongly, without a word.
    """
    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(_evened_out)


def _evened_out(gradient: Tensor | None) -> Tensor | None:
    # There is none where what comes behind the norm cannot be differentiated. One that lies evenly keeps its memory
    # order: copied to the other one, it makes the backward pass of grouped convolutions slow.
    if gradient is None or gradient.stride(0) == gradient.numel():
        return gradient
    return gradient.contiguous()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the autocast context of a precision (none for ``float32``: the model's own type)."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def casts_kept(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return a context in which several runs in half precision share the casts of their weights.

    Autocast keeps them until its outermost context ends. This one is that, and is itself off: between the runs nothing
    is rounded.
    """
    return nullcontext() if PRECISIONS[precision] is None else torch.autocast(device.type, enabled=False)
