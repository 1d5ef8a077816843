"""Evidence for gradient CAMs: the target layers' activations, and gradients of the rows that were collected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.evidence import Evidence
from finercam.methods.maps import fuse
from finercam.methods.span import mix, mixture_of

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier
    from finercam.models.look import Look


@dataclass(frozen=True, eq=False)
class GradientEvidence(Evidence):
    """What gradient methods need, for a batch.

    It answers every question in the span of the rows that were collected: rows for single classes answer any
    gamma and any subset of those classes. On a network that ends in global average pooling and one linear
    layer, looked at on the map that is pooled, the gradient of a row v is ``v @ head / (h w)`` at every cell, and
    every question is answered.

    Attributes:
        activations: one per target layer, in the layer's own precision.
        rows: what was collected; ``None`` for the closed form.
        gradients: of the rows with respect to the activations, one per target layer; ``None`` likewise.
        head: classifier rows of the closed form.
        row_maps: finished maps of the rows, per linear method.
    """

    activations: tuple[Float[Tensor, "b _K _h _w"], ...]
    rows: Float[Tensor, "b m C"] | None = None
    gradients: tuple[Float[Tensor, "b m _K _h _w"], ...] | None = None
    head: Float[Tensor, "C K"] | None = None
    row_maps: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict, repr=False, metadata={"kept": False})

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r _h _w"]:
        """Return the method's signed map of each row; several target layers are averaged (``maps.fuse``)."""
        assert self.how is not None
        assert self.how.function is not None
        function = self.how.function
        if not (self.how.linear and self.rows is not None):
            return fuse(self._per_layer(function, rows))
        mixture = mixture_of(self.rows, rows, self.labels)
        if function not in self.row_maps:
            self.row_maps[function] = self._per_layer(function, self.rows)
        return fuse([mix(mixture, maps) for maps in self.row_maps[function]])

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

    def classes(self) -> list[int] | None:
        """Return the classes whose gradients were collected; ``None`` where the closed form has all."""
        return None if self.rows is None else self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()

    @property
    def complete(self) -> bool:
        """Whether gradient times activation adds up to the logits but for the bias: in the closed form."""
        return self.head is not None

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
        assert self.rows is not None
        mixture = mixture_of(self.rows, v, self.labels)
        return tuple(mix(mixture, gradient.to(self.logits.dtype)) for gradient in self.gradients)

    def _per_layer(self, function: Callable[..., Tensor], rows: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for activations, gradients in zip(self.activations, self.gradient(rows), strict=True):
            a = activations.to(self.logits.dtype)
            maps.append(torch.stack([function(a, gradients[:, row]) for row in range(rows.shape[1])], 1))
        return tuple(maps)


def gather_gradients(look: Look, rows: Float[Tensor, "b m C"]) -> GradientEvidence:
    """Return activations and the gradients of rows; the closed form's rows where it holds, for every class."""
    head = look.closed_form
    activations = look.activations()
    if head is not None:
        return GradientEvidence(look.logits, look.image_size, activations, head=head)
    v = rows.to(look.logits)
    return GradientEvidence(look.logits, look.image_size, activations, v, look.gradients(v))


def gradient_taps(classifier: Classifier) -> tuple[str, ...]:
    """Return the target layers, or none where the closed form needs no graph."""
    return () if classifier.pooled else classifier.layers


def one_hot_rows(classes: Int[Tensor, "b m"], count: int, like: Float[Tensor, "*any"]) -> Float[Tensor, "b m C"]:
    """Return one row per class."""
    rows = torch.zeros(*classes.shape, count, dtype=like.dtype, device=classes.device)
    return rows.scatter_(2, classes[:, :, None], 1.0).to(like)
