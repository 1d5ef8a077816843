"""Several resolutions in one map: where the last layer's contrast is, drawn by what earlier layers contribute to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.bounds import refuse_outside
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import GradientEvidence, gradient_taps
from finercam.methods.maps import geometric_mean
from finercam.methods.method import explainer, find_method
from finercam.methods.span import mix, mixture_of
from finercam.models.look import Look
from finercam.models.stages import layer_cells, stages

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier

#: Least number of cells a side of the early layers that are looked at; for each the deepest layer that has as many.
CELLS = (28, 14)


@dataclass(frozen=True, eq=False)
class SharpEvidence(Evidence):
    """What ``sharp`` needs, for a batch.

    It answers every question in the span of the rows that were collected.

    Attributes:
        rows: what was collected.
        late: Grad-CAM's signed maps of these rows at the target layers.
        early: ``B_k dD/dB_k`` for each row D and early layer B.
        offset: e; see ``sharp``.
    """

    rows: Float[Tensor, "b m C"]
    late: Float[Tensor, "b m h w"]
    early: tuple[Float[Tensor, "b m _K _h _w"], ...]
    offset: float

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the combined map of each row, at the finest layer's resolution; it is never negative."""
        mixture = mixture_of(self.rows, rows.to(self.rows), self.labels)
        drawn = [mix(mixture, one).relu().sum(2) for one in self.early]
        return geometric_mean([mix(mixture, self.late).relu(), *drawn], self.offset)

    def of(self, images: slice | Int[Tensor, " n"]) -> SharpEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            rows=self.rows[images],
            late=self.late[images],
            early=tuple(one[images] for one in self.early),
        )

    def classes(self) -> list[int] | None:
        """Return the classes whose gradients were collected."""
        return self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()


def early_layers(classifier: Classifier, cells: Sequence[int] = CELLS) -> tuple[str, ...]:
    """Return the layers whose contributions draw the map, fine to coarse.

    Of the layers before the target layers whose grid is finer than theirs: for each number of cells a side the deepest
    with as many, or the finest there is. Where no grid is finer, as in a vision transformer, whose tokens all share
    one: the block halfway to the target layer.

    Raises:
        FinercamError: there is no such layer.
    """
    known = layer_cells(classifier)
    order = list(known)
    if all(name in known for name in classifier.layers):
        first = min(map(order.index, classifier.layers))
        own = max(math.prod(known[name]) for name in classifier.layers)
        finer = [one for one in stages(classifier) if math.prod(one.cells) > own and order.index(one.layer) < first]
        if finer:
            fine = [[one.layer for one in finer if min(one.cells) >= least] for least in cells]
            return tuple(dict.fromkeys(layers[-1] if layers else finer[0].layer for layers in fine))
        before = [name for name in _blocks(classifier) if order.index(name) < first]
        if before:
            return (before[len(before) // 2],)
    raise FinercamError(
        f"sharp and sharpest need a layer before {', '.join(classifier.layers)} whose output is a finer grid, or a "
        f"block before it on the same grid; {classifier.name} has none that could be found: choose a later layer with "
        "layer=, or another method"
    )


def _blocks(classifier: Classifier) -> list[str]:
    """Return the blocks that a network repeats: the most layers of one type in one container, the outermost such."""
    alike: dict[tuple[str, type], list[str]] = {}
    for name in layer_cells(classifier):
        inner = classifier.module.get_submodule(name)
        if next(inner.children(), None) is not None:
            alike.setdefault((name.rpartition(".")[0], type(inner)), []).append(name)
    return max(alike.values(), key=lambda names: (len(names), -names[0].count(".")), default=[])


def taps(classifier: Classifier) -> tuple[str, ...]:
    """Return all layers whose gradients are asked for."""
    return (*early_layers(classifier), *gradient_taps(classifier))


@explainer("sharp", title="Sharp", taps=taps)
def sharp(look: Look, rows: Float[Tensor, "b m C"], *, offset: float = 0.05) -> SharpEvidence:
    """Return evidence of the target layer and of earlier, finer layers.

    ``map = (prod_i (M_i / max M_i + e)) ^ (1/n) - e``, times the geometric mean of the maxima, over the Grad-CAM of the
    target layer (ReLU) and, for each early layer B, ``sum_k relu(B_k dD/dB_k)``, with D the question. The maps are
    resized bilinearly to the finest. Empty where Grad-CAM is.

    The early layers are the deepest ones with 28 and with 14 cells a side or more (see ``early_layers``). In a vision
    transformer, whose tokens all share one grid, it is the tokens of the block halfway to the target layer: the map is
    then no finer, but says where both that block and the last one find what speaks for the question.

    The gradients of all layers come from one backward pass for each row, down to the first of them.

    Args:
        look: at the model.
        rows: of coefficients.
        offset: e: 0 is the bare geometric mean, which is empty wherever one of the maps is.

    Raises:
        FinercamError: the offset is out of range, or there is no earlier layer to draw with.
    """
    refuse_outside("sharp", "offset", offset, 0.0, 1.0)
    classifier, v, gradcam = look.classifier, rows.to(look.logits), find_method("gradcam")
    early = early_layers(classifier)
    gradients = look.gradients(v, taps(classifier))
    if classifier.pooled:
        late = gradcam.gather(look, v).maps(v)
    else:
        own = gradients[len(early) :]
        late = GradientEvidence(look.logits, look.image_size, look.activations(), v, own, how=gradcam).maps(v)
    products = contributions(look, early, gradients[: len(early)])
    return SharpEvidence(look.logits, look.image_size, v, late, products, offset)


def contributions(
    look: Look, layers: Sequence[str], gradients: Sequence[Float[Tensor, "b m _K _h _w"]]
) -> tuple[Float[Tensor, "b m _K _h _w"], ...]:
    """Return ``B_k dD/dB_k`` of each layer B, given its gradients of rows D."""
    return tuple(
        activations[:, None].to(look.logits) * gradient.to(look.logits)
        for activations, gradient in zip(look.activations(layers), gradients, strict=True)
    )
