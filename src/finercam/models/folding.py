"""A copy of a model for many runs: each batch norm that follows a convolution becomes part of it.

In evaluation mode such a norm is a scale and a shift per channel, ``(x - mean) / sqrt(var + eps) * weight + bias``, so
the convolution can do it for nothing. The copy is for runs whose logits alone are wanted (masked images); evidence is
taken from the model itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finercam.models.passes import forward_pass, hooked
from finercam.models.undisturbed import undisturbed

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


def folded(classifier: Classifier) -> nn.Module:
    """Return a copy of the classifier's module with its batch norms folded, or the module where none can be.

    Which norm takes which convolution's output is seen by running the model once; that nothing else takes it is seen
    by the copy's logits, which must be the model's on noise (to rounding). If they are not, the module is returned.
    """
    module = classifier.module
    noise = classifier.noise(2)
    with undisturbed(module):
        images = classifier.take(noise)
        expected, pairs = _watched(classifier, images)
    if not pairs:
        return module
    try:
        faster = copy.deepcopy(module).eval()
    except (RuntimeError, TypeError):
        # What holds a lock or a tensor with a history has no copy.
        return module
    with torch.no_grad():
        for convolution, norm in pairs:
            _fold(faster, convolution, norm)
    with undisturbed(faster):
        found = classifier.read(forward_pass(faster, images, "float32"))
    same = torch.allclose(found, expected, rtol=0, atol=1e-4 * float(expected.abs().amax()))
    return faster if same else module


def _watched(classifier: Classifier, images: Tensor) -> tuple[Tensor, list[tuple[str, str]]]:
    """Return the logits, and the names of (convolution, norm) where each ran once, the norm on the other's output."""
    made: dict[str, Tensor] = {}
    taken: dict[str, Tensor] = {}
    often: set[str] = set()

    def watch(name: str, convolution: bool) -> Callable[[nn.Module, Any, Any], None]:
        def hook(inner: nn.Module, args: Any, output: Any) -> None:
            if name in made or name in taken:
                often.add(name)
            if convolution:
                made[name] = output
            else:
                taken[name] = args[0]

        return hook

    hooks: dict[nn.Module, Callable[[nn.Module, Any, Any], Any]] = {}
    for name, inner in classifier.module.named_modules():
        if isinstance(inner, nn.Conv2d) or _can_fold(inner):
            hooks[inner] = watch(name, isinstance(inner, nn.Conv2d))
    with hooked(hooks):
        logits = classifier.read(forward_pass(classifier.module, images, "float32"))
    by_output = {id(tensor): name for name, tensor in made.items() if name not in often}
    pairs = [
        (by_output[id(tensor)], name) for name, tensor in taken.items() if id(tensor) in by_output and name not in often
    ]
    return logits, pairs


def _can_fold(inner: nn.Module) -> bool:
    if not isinstance(inner, nn.BatchNorm2d) or inner.running_mean is None or inner.running_var is None:
        return False
    return type(inner) is nn.BatchNorm2d or _activation(inner) is not None


def _activation(norm: nn.Module) -> nn.Module | None:
    """Return what timm's norms do behind the norm itself, where this is one of them."""
    act, drop = getattr(norm, "act", None), getattr(norm, "drop", None)
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(act, nn.Module) and isinstance(drop, nn.Module):
        return nn.Sequential(drop, act)
    return None


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    conv, bn = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    # In float64: what the convolution is given is rounded once.
    scale = (bn.running_var.double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale = scale * bn.weight.double()
    shift = -bn.running_mean.double() * scale
    if bn.bias is not None:
        shift = shift + bn.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    kernel = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(kernel.to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight), requires_grad=False)
    parent, _, name = norm.rpartition(".")
    setattr(module.get_submodule(parent), name, _activation(bn) or nn.Identity())
