"""How a question is answered: one pure function per CAM method, and the registry of methods.

A gradient method takes activations ``A`` (b K h w) and the gradient ``G`` of the question with respect to them
(the same shape) and returns a signed map b h w. A score method takes activations, the table of scores (b K C), the
baseline's scores (b C) and the question's row of coefficients (b C). None of them knows of targets, references or
gamma: with the one-hot row of a class each is its ordinary self, with a contrast's row its finer version.

A method of your own::

    @finercam.method("gradnorm")
    def gradnorm(activations, gradients):
        return (activations * gradients).norm(dim=1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError, nearest
from finercam.methods.evidence import GradientEvidence, mix
from finercam.methods.scores import ScoreEvidence

#: What a method's evidence is: gradients, scores of masked images, or scores with a channel ablated.
EVIDENCE = ("gradients", "masks", "ablation")


@dataclass(frozen=True)
class Method:
    """A CAM method.

    Attributes:
        name: as in the registry and on the command line.
        title: as in a table.
        function: see the head of this file.
        evidence: ``gradients``, ``masks`` or ``ablation``.
        linear: whether the map is linear in the gradient, so that finished maps may be mixed.
    """

    name: str
    title: str
    function: Callable[..., Tensor]
    evidence: str = "gradients"
    linear: bool = False


METHODS: dict[str, Method] = {}

_REFUSED = {
    "eigencam": "eigengradcam",
    "kpcacam": "eigengradcam",
    "fem": "layercam",
}


def method(
    name: str, *, title: str | None = None, evidence: str = "gradients", linear: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a function as a CAM method; see the head of this file for what it takes and returns.

    Args:
        name: how users ask for it.
        title: how tables and pictures call it.
        evidence: what it takes: ``gradients``, ``masks`` or ``ablation``.
        linear: promise that the map is linear in the gradient, which makes a new gamma cheaper.
    """
    if evidence not in EVIDENCE:
        raise FinercamError(f"evidence is {evidence!r}; {nearest(evidence, EVIDENCE)}")

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        METHODS[name] = Method(name, title or name, function, evidence, linear)
        return function

    return register


def find_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        FinercamError: there is none, or it ignores the class and so cannot answer why this class.
    """
    folded = _folded(name)
    for known, found in METHODS.items():
        if folded == _folded(known):
            return found
    if folded in _REFUSED:
        raise FinercamError(
            f"{name} ignores the class, so it cannot say why this one and not another; use {_REFUSED[folded]!r}"
        )
    raise FinercamError(f"there is no CAM method {name!r}; {nearest(name, METHODS)}")


def _folded(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def signed_maps(
    evidence: GradientEvidence | ScoreEvidence, how: Method, rows: Float[Tensor, "b r C"]
) -> Float[Tensor, "b r h w"]:
    """Return the signed map of each row of coefficients, at the layer's resolution.

    Several target layers are resized to the largest of their grids and averaged, signed and unscaled.

    Raises:
        NotCollected: the rows reach classes whose gradients were not collected.
    """
    if isinstance(evidence, ScoreEvidence):
        table = (evidence.activations, evidence.table, evidence.baseline)
        return torch.stack([how.function(*table, rows[:, row].to(evidence.table)) for row in range(rows.shape[1])], 1)
    if how.linear and evidence.rows is not None:
        mixture = evidence.mixture(rows)
        if how not in evidence.row_maps:
            evidence.row_maps[how] = _per_layer(evidence, how, evidence.rows)
        return _fuse(tuple(mix(mixture, maps) for maps in evidence.row_maps[how]))
    return _fuse(_per_layer(evidence, how, rows))


def _per_layer(evidence: GradientEvidence, how: Method, rows: Tensor) -> tuple[Tensor, ...]:
    maps = []
    for activations, gradients in zip(evidence.activations, evidence.gradient(rows), strict=True):
        a = activations.to(evidence.logits.dtype)
        maps.append(torch.stack([how.function(a, gradients[:, row]) for row in range(rows.shape[1])], 1))
    return tuple(maps)


def _fuse(layers: tuple[Float[Tensor, "b r _h _w"], ...]) -> Float[Tensor, "b r h w"]:
    if len(layers) == 1:
        return layers[0]
    largest = max((maps.shape[-2:] for maps in layers), key=lambda size: size[0] * size[1])
    return torch.stack([resize(maps, (largest[0], largest[1])) for maps in layers]).mean(0)


def resize(maps: Float[Tensor, "b r h w"], size: tuple[int, int]) -> Float[Tensor, "b r H W"]:
    """Return the maps at another size, bilinearly, cells taken as areas (corners not aligned)."""
    if maps.shape[-2:] == size:
        return maps
    return torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def to_saliency(signed: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b H W"]:
    """Return the ReLU of signed maps, then resized to the image; not scaled."""
    return resize(signed.relu()[:, None], size)[:, 0]


# --- gradient methods --------------------------------------------------------------------------------------------


@method("gradcam", title="Grad-CAM", linear=True)
def gradcam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """Grad-CAM: ``sum_k alpha_k A_k`` with ``alpha_k`` the mean of ``G_k`` (arXiv 1610.02391, Eq. 1-2)."""
    return torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), a)


@method("gradcam++", title="Grad-CAM++")
def gradcam_plus_plus(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """Grad-CAM++: ``w_k = sum_ij alpha_ij ReLU(G_ij)`` (arXiv 1710.11063, Eq. 10 and 19).

    ``alpha = G^2 / (2 G^2 + sum(A_k) G^3)``, which is ``1 / (2 + sum(A_k) G)`` where G is not zero (where it is, so
    is its ReLU), and 0 where that denominator vanishes. The positive factor exp(y) of the paper is left out: it
    scales a map as a whole and overflows.
    """
    denominator = 2 + a.sum((2, 3), keepdim=True) * g
    usable = denominator != 0
    alpha = torch.where(usable, 1 / torch.where(usable, denominator, 1), 0)
    return torch.einsum("bk,bkhw->bhw", (alpha * g.relu()).sum((2, 3)), a)


@method("xgradcam", title="XGrad-CAM", linear=True)
def xgradcam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """XGrad-CAM: ``w_k = sum_ij A_ij G_ij / sum(A_k)`` (arXiv 2008.02312, Eq. 8).

    Meant for activations that are not negative: where they are (tokens after a norm), a channel's sum may be close to
    zero and its weight is ill-conditioned, so that half precision can turn a map over. A channel whose sum vanishes
    against its absolute sum (below one part in a million) has no defined weight and is left out.
    """
    total = a.sum((2, 3))
    defined = total.abs() > 1e-6 * a.abs().sum((2, 3))
    weight = torch.where(defined, (a * g).sum((2, 3)) / torch.where(defined, total, 1), 0)
    return torch.einsum("bk,bkhw->bhw", weight, a)


@method("hirescam", title="HiRes-CAM", linear=True)
def hirescam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """HiRes-CAM: ``sum_k G_k * A_k``, cell by cell (arXiv 2011.08891, Eq. 5)."""
    return torch.einsum("bkhw,bkhw->bhw", g, a)


@method("layercam", title="Layer-CAM")
def layercam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """Layer-CAM: ``sum_k ReLU(G_k) * A_k`` (Jiang et al., TIP 2021, Eq. 6-7)."""
    return torch.einsum("bkhw,bkhw->bhw", g.relu(), a)


@method("eigengradcam", title="EigenGrad-CAM")
def eigengradcam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """EigenGrad-CAM: the first principal component of ``G * A`` over the cells (as in Eigen-CAM, arXiv 2008.00299).

    A component's sign is arbitrary; here it is the one that agrees with HiRes-CAM's map.
    """
    product = (g * a).flatten(2).mT
    centred = product - product.mean(1, keepdim=True)
    # cells x cells is smaller than cells x channels, and the same component.
    _, vectors = torch.linalg.eigh(centred @ centred.mT)
    first = vectors[:, :, -1]
    spread = torch.einsum("bpk,bp->bk", centred, first).norm(dim=1, keepdim=True)
    sign = torch.sign((first * product.sum(2)).sum(1, keepdim=True))
    return (first * spread * sign).unflatten(1, a.shape[2:])


# --- score methods -----------------------------------------------------------------------------------------------


@method("scorecam", title="Score-CAM", evidence="masks")
def scorecam(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: ``alpha_k = v . f(x * H_k) - v+ . f(x_b)`` (arXiv 2501.11309, Eq. 3 and 9 as printed).

    ``v+`` is the positive part of the row, for a contrast its target: Eq. 9 subtracts only the target's baseline.
    """
    return _weighted(a, torch.einsum("bkc,bc->bk", table, v) - (baseline * v.relu()).sum(1, keepdim=True))


@method("scorecam-consistent", title="Score-CAM (contrast's baseline)", evidence="masks")
def scorecam_consistent(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: ``alpha_k = v . (f(x * H_k) - f(x_b))``, the whole contrast's gain over its baseline."""
    return _weighted(a, torch.einsum("bkc,bc->bk", table - baseline[:, None], v))


@method("scorecam-softmax", title="Score-CAM (softmax weights)", evidence="masks")
def scorecam_softmax(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: scores normalised over the channels by a softmax (arXiv 1910.01279, Algorithm 1)."""
    return _weighted(a, torch.einsum("bkc,bc->bk", table, v).softmax(1))


@method("ablationcam", title="Ablation-CAM", evidence="ablation")
def ablationcam(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Ablation-CAM: ``alpha_k = v . (y - y without channel k)`` (Ramaswamy and Desai, WACV 2020, Eq. 3).

    Not divided by ``v . y``: that only scales the map, and where a contrast is negative it would flip it.
    """
    return _weighted(a, torch.einsum("bkc,bc->bk", baseline[:, None] - table, v))


def _weighted(a: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("bk,bkhw->bhw", weights, a)
