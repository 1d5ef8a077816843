"""Running somebody else's model without leaving a trace on it."""

from __future__ import annotations

import dataclasses
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()
_eager_users, _stance = 0, ExitStack()


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Have the module to oneself, in evaluation mode, and give it back as it was.

    A second thread that asks for the same module waits. Restored on the way out, also after an exception: each
    submodule's training flag, the random number generators of the CPU and of the module's device. Gradients are
    off inside, and so are a caller's autocast and inference mode, so that what is captured is exact and can be
    differentiated.
    """
    with _locks_lock:
        lock = _locks.setdefault(module, threading.RLock())
    device = device_of(module)
    devices = [device] if device.type == "cuda" else []
    with lock, torch.inference_mode(False), torch.no_grad(), exact(device), _eager(), torch.random.fork_rng(devices):
        # The flag alone: train() may be overridden and do more.
        training = [submodule for submodule in module.modules() if submodule.training]
        for submodule in training:
            submodule.training = False
        try:
            yield
        finally:
            for submodule in training:
                submodule.training = True


@contextmanager
def _eager() -> Iterator[None]:
    """Have compiled parts run as they were written: compiled, they pass over hooks, or are compiled anew for each."""
    global _eager_users
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    # The stance is the whole process's: the first one in takes it, the last one out gives it back.
    with _locks_lock:
        _eager_users += 1
        if _eager_users == 1:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _locks_lock:
            _eager_users -= 1
            if not _eager_users:
                _stance.close()


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable[[nn.Module, Any, Any], Any]]) -> Iterator[None]:
    """Attach forward hooks that fire in this thread only, and take them off again."""
    owner = threading.get_ident()

    def in_this_thread(hook: Callable[[nn.Module, Any, Any], Any]) -> Callable[[nn.Module, Any, Any], Any]:
        return lambda module, args, output: hook(module, args, output) if threading.get_ident() == owner else None

    handles = [module.register_forward_hook(in_this_thread(hook)) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run(module: nn.Module, images: Tensor, precision: str) -> Any:
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
        module, images, precision: as for ``run``.
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
            return run(module, images, precision), taps
    finally:
        torch.set_grad_enabled(False)


def _even_out_gradient(inner: nn.Module, args: Any, output: Any) -> None:
    """Have the gradient that arrives at a batch or instance norm lie evenly in memory.

    Tokens made by ``flatten(2).transpose(1, 2)`` send back a gradient whose stride over a batch of one is
    arbitrary; PyTorch's backward of these norms on the CPU (up to 2.13 at least) reads it wrongly, without a word.
    """
    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(Tensor.contiguous)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the autocast context for ``float32`` (none: the model's own type), ``bfloat16`` or ``float16``."""
    if precision not in PRECISIONS:
        raise FinercamError(f"precision is {precision!r}; {nearest(precision, PRECISIONS)}")
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def exact(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which a caller's autocast, if there is one, does not round products."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's first parameter or buffer (the CPU for a module with neither)."""
    tensor = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def main_tensor(output: Any) -> Tensor | None:
    """Return the tensor a layer's output is about: itself, or the first one in a tuple, mapping or dataclass."""
    if isinstance(output, Tensor):
        return output
    for value in _values(output):
        if isinstance(value, Tensor):
            return value
    return None


def with_main_tensor(output: Any, tensor: Tensor) -> Any:
    """Return the output with its main tensor exchanged."""
    if isinstance(output, Tensor):
        return tensor
    old = main_tensor(output)
    if isinstance(output, Mapping):
        # ModelOutput of transformers is a mapping and a dataclass; its type takes the same keywords.
        changed = {key: tensor if value is old else value for key, value in output.items()}
        return changed if type(output) is dict else type(output)(**changed)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        field = next(f.name for f in dataclasses.fields(output) if getattr(output, f.name) is old)
        return dataclasses.replace(output, **{field: tensor})
    values = [tensor if value is old else value for value in output]
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)


def read_logits(output: Any) -> Tensor:
    """Return the logits of a model's output: a tensor, or where tuples, mappings and dataclasses keep them.

    Raises:
        FinercamError: there are none, or they are not of shape (b, C).
    """
    logits = output
    if isinstance(output, Mapping) and "logits" in output:
        logits = output["logits"]
    elif hasattr(output, "logits"):
        logits = output.logits
    elif not isinstance(output, Tensor):
        logits = next((v for v in _values(output) if isinstance(v, Tensor) and v.ndim == 2), None)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        what = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(output).__name__
        raise FinercamError(
            f"the model returned {what}, not logits of shape (images, classes); give read=, a function that takes "
            "the model's output and returns them"
        )
    return logits


def _values(output: Any) -> Sequence[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return [getattr(output, f.name) for f in dataclasses.fields(output)]
    return list(output) if isinstance(output, (tuple, list)) else []
