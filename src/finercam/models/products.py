"""Vector-Jacobian products: gradients of rows of coefficients, without touching any parameter's ``.grad``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError

#: Gradients in float16 fall below its smallest numbers; the product is linear, so it is scaled up and back.
_FLOAT16_SCALE = 1024.0


@contextmanager
def differentiating() -> Iterator[None]:
    """Turn what stands in the way of a backward pass into one line.

    Raises:
        FinercamError: the model cannot be differentiated.
        MemoryError: there is not enough of a processor's memory, which says nothing about the model.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:
        # Operations without a derivative raise the one, those that are handed None for a gradient the other.
        first = next(iter(str(error).splitlines()), type(error).__name__)
        if "can't allocate memory" in first:
            raise MemoryError(first) from error
        advice = "turn it off, or use_reentrant=False" if "heckpointing" in first else "choose a later layer"
        raise FinercamError(
            f"the logits cannot be differentiated ({first}); {advice}, or give layer= and use a method that needs no "
            "gradients (scorecam, ablationcam)"
        ) from error


def products(logits: Tensor, taps: Mapping[str, Tensor], rows: Float[Tensor, "b m C"]) -> list[tuple[Tensor, ...]]:
    """Return, for each row, the gradients of ``row . logits`` with respect to the taps. The graph is kept.

    A gradient is zero only where it was computed to be: a layer that the logits cannot be traced back to, or that an
    operation without a derivative lies behind, is an error, also where other paths lead around that operation.

    Args:
        logits: with their graph.
        taps: tensors in that graph, by the name of what put them out.
        rows: of coefficients.

    Raises:
        FinercamError: the logits do not depend on a tap by way of differentiable operations, or a gradient is not
            finite.
    """
    if not logits.requires_grad:
        raise FinercamError(
            "the logits do not depend on the target layer by way of differentiable operations (does the model's "
            "forward turn gradients off?); choose another layer, or a method that needs no gradients (scorecam, "
            "ablationcam)"
        )
    inputs = list(taps.values())
    scale = _FLOAT16_SCALE if any(tap.dtype == torch.float16 for tap in inputs) else 1.0
    collected = []
    for number, row in enumerate(rows.unbind(1)):
        with ExitStack() as stack:
            stack.enter_context(differentiating())
            if number == 0:
                stack.enter_context(_traced(logits, taps))
            gradients = torch.autograd.grad(logits, inputs, row * scale, retain_graph=True, materialize_grads=True)
        if scale != 1.0:
            gradients = tuple(gradient.float() / scale for gradient in gradients)
        collected.append(gradients)
    if not all(bool(gradient.isfinite().all()) for gradients in collected for gradient in gradients):
        raise FinercamError(
            "the gradient at the target layer is not finite: "
            + (
                "it overflowed in float16; use precision bfloat16 or float32"
                if scale != 1.0
                else "an operation behind that layer has no derivative there; choose a later layer with layer="
            )
        )
    return collected


@contextmanager
def _traced(logits: Tensor, taps: Mapping[str, Tensor]) -> Iterator[None]:
    """Watch a backward pass, and raise where a gradient got lost between the logits and a tap.

    Autograd takes what an operation's backward leaves undefined (a quantised layer's, a custom function's ``None``)
    for zero without a word.
    """
    ends = {name: torch.autograd.graph.get_gradient_edge(tap).node for name, tap in taps.items()}
    came_by = _graph(torch.autograd.graph.get_gradient_edge(logits).node)
    for name, end in ends.items():
        if end not in came_by:
            raise FinercamError(
                f"no gradient reaches layer {name!r}: the logits do not depend on it by way of differentiable "
                "operations; choose another layer, or a method that needs no gradients (scorecam, ablationcam)"
            )
    # The operations between the logits and the taps.
    between = _before(ends.values(), came_by)
    lost: list[tuple[Any, Any]] = []

    def watch(node: Any) -> Callable[[Any, Any], None]:
        def hook(gradients: tuple[Tensor | None, ...], given: tuple[Tensor | None, ...]) -> None:
            for (child, _), gradient in zip(node.next_functions, gradients, strict=False):
                # What passes on nothing because nothing came is no loss.
                if gradient is None and child in between and any(one is not None and bool(one.any()) for one in given):
                    lost.append((node, child))

        return hook

    handles = [node.register_hook(watch(node)) for node in between - set(ends.values())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if lost:
        operation, behind = lost[0]
        name = next(name for name, end in ends.items() if behind in _before([end], came_by))
        raise FinercamError(
            f"no gradient reaches layer {name!r}, or not all of it: an operation between it and the logits "
            f"({operation.name()}) gives none, as quantised layers do; use the model before it was quantised, a later "
            "layer with layer=, or a method that needs no gradients (scorecam, ablationcam)"
        )


def _graph(root: Any) -> dict[Any, list[Any]]:
    """Return, for each operation that a gradient from here may come to, those that it comes from."""
    came_by: dict[Any, list[Any]] = {root: []}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        for child, _ in node.next_functions:
            if child is not None:
                if child not in came_by:
                    came_by[child] = []
                    waiting.append(child)
                came_by[child].append(node)
    return came_by


def _before(ends: Any, came_by: Mapping[Any, list[Any]]) -> set[Any]:
    """Return the operations from which a gradient goes on to one of these, and these."""
    found = set(ends)
    waiting = list(found)
    while waiting:
        for node in came_by[waiting.pop()]:
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found
