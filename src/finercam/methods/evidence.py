"""The one look at the model: what it computed for a batch, kept so that many questions can be asked of it.

The layers before the target layer run without gradients; from its output on, the graph is recorded, and one
vector-Jacobian product per row of coefficients gives that row's gradient. No parameter's ``.grad`` is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from finercam.contrast.labels import display_name
from finercam.errors import FinercamError
from finercam.models.classifier import Classifier
from finercam.models.running import tapped_run, undisturbed

#: Gradients in float16 fall below its smallest numbers; the product is linear, so it is scaled up and back.
_FLOAT16_SCALE = 1024.0

#: Given the logits, the rows of coefficients (b m C) whose gradients are wanted.
Rows = Callable[[Tensor], Tensor]


class NotGathered(FinercamError):
    """The evidence at hand does not answer the question; another look at the model would."""


class NotCollected(NotGathered):
    """A question needs classes whose gradients were not collected.

    Attributes:
        classes: the missing class indices.
    """

    def __init__(self, classes: list[int], names: list[str]) -> None:
        self.classes = classes
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        super().__init__(
            f"no gradient was collected for {shown}; name these classes in collect= when explaining, "
            "or ask with collect=True to run the model again for them"
        )


@dataclass(frozen=True)
class GradientEvidence:
    """What gradient methods need, for a batch.

    It answers every question in the span of the rows that were collected: rows for single classes answer any
    gamma and any subset of those classes. On a network that ends in global average pooling and one linear
    layer, looked at on the map that is pooled, the gradient of a row v is ``v @ head / (h w)`` at every cell, and
    every question is answered.

    Attributes:
        logits: in float32 or better.
        activations: one per target layer, in the layer's own precision.
        image_size: height and width of the images.
        rows: what was collected; ``None`` for the closed form.
        gradients: of the rows with respect to the activations, one per target layer; ``None`` likewise.
        head: classifier rows of the closed form.
        class_name: how an error message calls a class.
    """

    logits: Float[Tensor, "b C"]
    activations: tuple[Float[Tensor, "b _K _h _w"], ...]
    image_size: tuple[int, int]
    rows: Float[Tensor, "b m C"] | None = None
    gradients: tuple[Float[Tensor, "b m _K _h _w"], ...] | None = None
    head: Float[Tensor, "C K"] | None = None
    class_name: Callable[[int], str] = str
    #: Finished maps of the rows, per linear method.
    row_maps: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict, repr=False, compare=False)
    kind: str = "gradients"

    def image(self, index: int) -> GradientEvidence:
        """Return the evidence of one image of the batch (views, not copies)."""
        return self.of(slice(index, index + 1))

    def of(self, images: slice | Int[Tensor, " n"]) -> GradientEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            activations=tuple(a[images] for a in self.activations),
            rows=None if self.rows is None else self.rows[images],
            gradients=None if self.gradients is None else tuple(g[images] for g in self.gradients),
            row_maps={how: tuple(maps[images] for maps in layers) for how, layers in self.row_maps.items()},
        )

    def mixture(self, v: Float[Tensor, "b r C"]) -> Float[Tensor, "b r m"]:
        """Return how to mix the collected rows so that they make ``v``.

        Raises:
            NotCollected: ``v`` reaches classes outside the span of what was collected.
        """
        assert self.rows is not None
        if self.rows.shape == v.shape and bool(torch.equal(self.rows, v)):
            return torch.eye(v.shape[1], device=v.device, dtype=v.dtype).expand(len(v), -1, -1)
        # Small and ill-suited to some accelerators: a Gram matrix of m x m, in float64 on the CPU.
        rows, wanted = self.rows.double().cpu(), v.double().cpu()
        gram = rows @ rows.mT
        mixture = wanted @ rows.mT @ torch.linalg.pinv(gram, hermitian=True)
        rest = (wanted - mixture @ rows).abs() > 1e-5 * wanted.abs().amax(2, keepdim=True)
        missing = rest.any(1).any(0).nonzero().flatten().tolist()
        if missing:
            raise NotCollected(missing, [self.class_name(i) for i in missing])
        return mixture.to(v)

    def gradient(self, v: Float[Tensor, "b r C"]) -> tuple[Float[Tensor, "b r _K _h _w"], ...]:
        """Return the gradient of ``v . logits`` with respect to each layer's activations.

        Raises:
            NotCollected: ``v`` reaches classes outside the span of what was collected.
        """
        if self.head is not None:
            h, w = self.activations[0].shape[-2:]
            alpha = v.to(self.head.dtype) @ self.head / (h * w)
            return (alpha[..., None, None].expand(-1, -1, -1, h, w),)
        assert self.gradients is not None
        mixture = self.mixture(v)
        return tuple(mix(mixture, gradient.to(self.logits.dtype)) for gradient in self.gradients)


def mix(mixture: Float[Tensor, "b r m"], tensors: Float[Tensor, "b m *rest"]) -> Float[Tensor, "b r *rest"]:
    """Return linear combinations of what was collected per row."""
    return (mixture.to(tensors) @ tensors.flatten(2)).unflatten(2, tensors.shape[2:])


def one_hot_rows(classes: Int[Tensor, "b m"], count: int, like: Float[Tensor, "*any"]) -> Float[Tensor, "b m C"]:
    """Return one row per class."""
    return nn.functional.one_hot(classes, count).to(like)


def look(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    rows: Rows,
    *,
    precision: str = "float32",
) -> GradientEvidence:
    """Run the model once and collect the gradients of the rows asked for.

    Args:
        classifier: the model, its target layers and grids.
        images: preprocessed.
        rows: called with the logits, returns the rows of coefficients. Not called where the closed form holds.
        precision: ``float32``, or autocast to ``bfloat16`` or ``float16``; sums are in float32 at least.

    Raises:
        FinercamError: the target layer was not reached, the outputs are probabilities, or no gradient arrives.
    """
    with undisturbed(classifier.module):
        images = classifier.take(images)
        logits, taps = forward(classifier, images, differentiate=not classifier.pooled, precision=precision)
        size = (images.shape[-2], images.shape[-1])
        activations = tuple(g.maps(t.detach(), size) for g, t in zip(classifier.grids, taps, strict=True))
        plain = logits.detach()

        def name(index: int) -> str:
            return display_name(index, classifier.labels)

        if classifier.pooled:
            head = checked_head(classifier, plain, activations[0], precision)
            return GradientEvidence(plain, activations, size, head=head, class_name=name)
        v = rows(plain).to(plain)
        collected = products(logits, taps, v)
        gradients = tuple(
            torch.stack([grid.maps(per_row[layer], size) for per_row in collected], 1)
            for layer, grid in enumerate(classifier.grids)
        )
        return GradientEvidence(plain, activations, size, rows=v, gradients=gradients, class_name=name)


def forward(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    *,
    precision: str,
    differentiate: bool = False,
    edit: Callable[[str, Tensor], Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return the logits (float32 at least) and what the target layers put out. Only inside ``undisturbed``.

    ``differentiate`` and ``edit`` are those of ``tapped_run``.
    """
    output, taps = tapped_run(
        classifier.module,
        images,
        classifier.layers,
        precision=precision,
        differentiate=differentiate,
        edit=edit,
    )
    unreached = [name for name in classifier.layers if name not in taps]
    if unreached:
        raise FinercamError(f"layer {unreached[0]!r} is not used in the forward pass; choose another with layer=")
    with torch.set_grad_enabled(differentiate):
        given = classifier.read(output)
        logits = given.to(torch.promote_types(given.dtype, torch.float32))
    if edit is None:
        refuse_not_numbers(logits.detach(), precision)
        refuse_probabilities(given.detach())
    return logits, [taps[name] for name in classifier.layers]


def products(logits: Tensor, taps: list[Tensor], rows: Float[Tensor, "b m C"]) -> list[tuple[Tensor, ...]]:
    """Return, for each row, the gradients of ``row . logits`` with respect to the taps."""
    if not logits.requires_grad:
        raise FinercamError(
            "the logits do not depend on the target layer by way of differentiable operations (does the model's "
            "forward turn gradients off?); choose another layer, or a method that needs no gradients (scorecam, "
            "ablationcam)"
        )
    scale = _FLOAT16_SCALE if any(tap.dtype == torch.float16 for tap in taps) else 1.0
    count = rows.shape[1]
    collected = []
    for row in range(count):
        gradients = torch.autograd.grad(
            logits, taps, rows[:, row] * scale, retain_graph=row + 1 < count, materialize_grads=True
        )
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


def refuse_not_numbers(logits: Float[Tensor, "b C"], precision: str) -> None:
    """Raise if logits are NaN or +inf. (-inf is what a class that is ruled out has.)"""
    bad = (logits.isnan() | logits.isposinf()).any(1)
    if bool(bad.any()):
        image = int(bad.nonzero()[0])
        hint = "" if precision == "float32" else f"; {precision} may be too coarse for this model, try float32"
        raise FinercamError(f"the model's logits for image {image} are not numbers (NaN or infinite){hint}")


def refuse_probabilities(given: Float[Tensor, "b C"]) -> None:
    """Raise if what the model returned, in its own precision, are probabilities."""
    logits = given.to(torch.promote_types(given.dtype, torch.float32))
    # Logits of few classes sum to nearly 1 by chance at times, so no wider than rounding: half an eps of the sum.
    near = max(1e-5, torch.finfo(given.dtype).eps)
    if logits.shape[1] > 1 and bool(((logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < near)).all()):
        raise FinercamError(
            "the model returns probabilities (every row is non-negative and sums to 1), but a contrast is a "
            "difference of logits; remove the final softmax, or give read= a function that returns the logits"
        )


def checked_head(
    classifier: Classifier, logits: Float[Tensor, "b C"], activations: Float[Tensor, "b K h w"], precision: str
) -> Float[Tensor, "C K"]:
    """Return the classifier's rows, having seen that pooling and that layer still make these logits."""
    head = classifier.head
    assert head is not None
    weight = head.weight.detach().to(logits)
    expected = activations.to(logits).mean((2, 3)) @ weight.T
    if head.bias is not None:
        expected = expected + head.bias.detach().to(logits)
    coarse = precision != "float32" or head.weight.dtype in (torch.bfloat16, torch.float16)
    if not torch.allclose(expected, logits, atol=(0.1 if coarse else 1e-3) * float(logits.abs().amax()), rtol=0):
        raise FinercamError("the model was changed since its Classifier was made; make a new one")
    return weight
