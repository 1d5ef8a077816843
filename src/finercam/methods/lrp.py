"""Layer-wise relevance propagation, through zennit (Bach et al., 2015; Anders et al., 2021).

Zennit gives each layer a rule for how the relevance of its output is shared out among its inputs. What a network does
between its layers (skip connections, pooling by a mean) gets its rule here, or is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.methods.linear import LinearEvidence
from finercam.methods.method import explainer
from finercam.methods.pixels import box_smoothed, refuse_smooth
from finercam.methods.scores import ruled_in
from finercam.models.classifier import Classifier
from finercam.models.folding import folded
from finercam.models.look import INPUT, Look

#: Functions that add up values: each value is given the share that it adds. By torch's names, in place or not.
_SUMS: Mapping[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), Tensor.add),
    "mean": Tensor.mean,
    "avg_pool2d": nn.functional.avg_pool2d,
    "adaptive_avg_pool2d": nn.functional.adaptive_avg_pool2d,
}
#: Functions that hand values on, some of them or all: the gradient is the rule.
_HAND_ON = {
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "expand"),
    *("__getitem__", "__get__", "cat", "stack", "chunk", "split", "pad", "max_pool2d", "adaptive_max_pool2d"),
    *("contiguous", "clone", "to", "float", "double", "dropout", "requires_grad_"),
}


@explainer("lrp", title="LRP", source="Bach et al., PLOS ONE 2015; zennit: arXiv 2106.13200")
def lrp(look: Look, rows: Float[Tensor, "b m C"], *, smooth: float = 0.03) -> LinearEvidence:
    """Return the relevance of each pixel for each row D, by the rules of zennit's ``EpsilonPlusFlat``.

    The relevance of the logits is ``v * y``, what each adds to ``D = v . y``. A linear layer hands it on by the epsilon
    rule, a convolution by z-plus, the first one evenly over its window (flat); activations pass it on, and a sum (of a
    skip connection, of average pooling) shares it out by what each adds. Batch norms become part of the convolutions
    before them first, or pass it on where there are none. Biases have no part in any rule. Linear in the row. Relevance
    is conserved, so that a map's sum is D, but where a unit is active by its bias alone: there it is lost. In deep
    networks with depthwise convolutions that is most of it, and only the ranking of the pixels says something.

    It is run on a copy of the model, once, in the model's own precision whatever ``run`` says; with one backward pass
    for each row, which costs several of the usual ones.

    Args:
        look: at the model.
        rows: of coefficients.
        smooth: side of the box that smooths the map, as a share of the image's larger side (``box_smoothed``).

    Raises:
        FinercamError: zennit is not installed, ``smooth`` is out of range, or there is no rule for something that the
            model does: attention, layer norms, gates, an activation called as a function.
    """
    refuse_smooth("lrp", smooth)
    v = rows.to(look.logits)
    with _ruled(look) as beside:
        (relevance,) = beside.gradients(v * ruled_in(beside.logits)[:, None], (INPUT,))
    maps = relevance.sum(2).to(look.logits)
    return LinearEvidence(look.logits, look.image_size, v, box_smoothed(maps, smooth))


@contextmanager
def _ruled(look: Look) -> Iterator[Look]:
    """Look at the same images with a copy of the model whose gradients are relevances."""
    # Before zennit does: see there.
    import_torchvision()
    try:
        from zennit.composites import EpsilonPlusFlat
    except ModuleNotFoundError as error:
        raise FinercamError("lrp needs zennit, which is not installed; run pip install zennit") from error
    # Zennit exchanges weights while it works: on a copy, so that nobody else who runs the model sees that.
    module = folded(look.classifier)
    if module is look.classifier.module:
        module = copy.deepcopy(module)
    classifier: Classifier = replace(look.classifier, module=module, name=f"{look.classifier.name} (copy for LRP)")
    with EpsilonPlusFlat(zero_params=["bias"]).context(module), ExitStack() as stack:
        with _between(look.classifier.name, module):
            visit = classifier.look(look.images, replace(look.run, precision="float32"), at=(INPUT,))
            beside = stack.enter_context(visit)
        yield beside


@contextmanager
def _between(name: str, module: nn.Module) -> Iterator[None]:
    """Have what runs between the layers that zennit knows follow rules too."""
    from zennit import types
    from zennit.layer import Sum

    mode = _Between(name)
    known = (types.Linear, types.Activation, types.AvgPool, types.BatchNorm, Sum)
    # Attention is among its activations, but what passes through that is not told apart.
    layers = {
        inner: f"{type(inner).__name__} {name!r}"
        for name, inner in module.named_modules()
        if isinstance(inner, known) and not isinstance(inner, nn.MultiheadAttention)
    }
    handles = []
    for inner, title in layers.items():
        once = isinstance(inner, (types.Linear, types.AvgPool))
        handles.append(inner.register_forward_pre_hook(mode.entering(title if once else None)))
        handles.append(inner.register_forward_hook(mode.leaving, always_call=True))
    try:
        with mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Between(TorchFunctionMode):
    """Sees each torch function that is called; those inside of layers with rules are none of its business."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.inside = name, 0
        self.seen: set[str] = set()

    def entering(self, title: str | None) -> Callable[[nn.Module, Any], None]:
        def hook(inner: nn.Module, args: Any) -> None:
            self.inside += 1
            if title in self.seen:
                raise FinercamError(f"lrp: {title} of {self.name} runs more than once, for which zennit has no rule")
            if title is not None:
                self.seen.add(title)

        return hook

    def leaving(self, inner: nn.Module, args: Any, output: Any) -> None:
        self.inside -= 1

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if name in _SUMS and any(_recorded(value) for value in args):
            # What is inside of an autograd function is not seen by the mode.
            shared = [_Shared.apply(value) if _recorded(value) else value for value in args]
            return _Stabilized.apply(_SUMS[name](*shared, **kwargs))
        result = function(*args, **kwargs)
        if name not in _HAND_ON and any(map(_recorded, result if isinstance(result, (tuple, list)) else (result,))):
            raise FinercamError(
                f"lrp has no rule for {name!r}, which {self.name} calls outside of its convolutions, linear layers, "
                "activations, batch norms and poolings; use another method"
            )
        return result


def _recorded(value: Any) -> bool:
    return isinstance(value, Tensor) and value.grad_fn is not None


class _Shared(Function):
    """Hands a value on; its relevance is the value times the gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        return value * gradient


class _Stabilized(Function):
    """Hands a sum on; its relevance is divided by the sum, as zennit's ``Norm`` does."""

    @staticmethod
    def forward(ctx: Any, total: Tensor) -> Tensor:
        ctx.save_for_backward(total)
        return total.clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Tensor:
        from zennit.core import stabilize

        (total,) = ctx.saved_tensors
        return relevance / stabilize(total)
