"""Class activation maps: pure functions of a layer's activations ``a`` and the question's gradient ``g``, b K h w each.

None of them knows of targets, references or gamma: with the one-hot row of a class each is its ordinary self, with a
contrast's row its finer version.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.methods.method import method


@method("gradcam", title="Grad-CAM", linear=True, source="arXiv 1610.02391")
def gradcam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """Grad-CAM: ``sum_k alpha_k A_k`` with ``alpha_k`` the mean of ``G_k`` (arXiv 1610.02391, Eq. 1-2)."""
    return torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), a)


@method("gradcam++", title="Grad-CAM++", source="arXiv 1710.11063")
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


@method("xgradcam", title="XGrad-CAM", linear=True, source="arXiv 2008.02312")
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


@method("hirescam", title="HiRes-CAM", linear=True, source="arXiv 2011.08891")
def hirescam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """HiRes-CAM: ``sum_k G_k * A_k``, cell by cell (arXiv 2011.08891, Eq. 5)."""
    return torch.einsum("bkhw,bkhw->bhw", g, a)


@method("layercam", title="Layer-CAM", source="Jiang et al., TIP 2021")
def layercam(a: Float[Tensor, "b K h w"], g: Float[Tensor, "b K h w"]) -> Float[Tensor, "b h w"]:
    """Layer-CAM: ``sum_k ReLU(G_k) * A_k`` (Jiang et al., TIP 2021, Eq. 6-7)."""
    return torch.einsum("bkhw,bkhw->bhw", g.relu(), a)


@method("eigengradcam", title="EigenGrad-CAM", source="arXiv 2008.00299")
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
