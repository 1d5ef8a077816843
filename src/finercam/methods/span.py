"""Which rows of coefficients the rows that were collected can answer: their mixtures, or only themselves."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.labels import Labels, display_name
from finercam.methods.evidence import NotCollected, NotGathered


def mixture_of(
    collected: Float[Tensor, "b m C"], wanted: Float[Tensor, "b r C"], labels: Labels | None = None
) -> Float[Tensor, "b r m"]:
    """Return how to mix the collected rows so that they make the wanted ones.

    Raises:
        NotCollected: the wanted rows reach classes outside the span of what was collected.
    """
    if collected.shape == wanted.shape and bool(torch.equal(collected, wanted)):
        return torch.eye(wanted.shape[1], device=wanted.device, dtype=wanted.dtype).expand(len(wanted), -1, -1)
    # Small and ill-suited to some accelerators: a Gram matrix of m x m, in float64 on the CPU. Of a million classes
    # a question reaches a few.
    reached = _reached(collected, wanted)
    rows, v = collected[:, :, reached].double().cpu(), wanted[:, :, reached].double().cpu()
    gram = rows @ rows.mT
    mixture = v @ rows.mT @ torch.linalg.pinv(gram, hermitian=True)
    rest = (v - mixture @ rows).abs() > 1e-5 * v.abs().amax(2, keepdim=True)
    missing = reached.cpu()[rest.any(1).any(0)].tolist()
    if missing:
        raise NotCollected(missing, [display_name(index, labels) for index in missing])
    return mixture.to(wanted)


def mix(mixture: Float[Tensor, "b r m"], tensors: Float[Tensor, "b m *rest"]) -> Float[Tensor, "b r *rest"]:
    """Return linear combinations of what was collected per row."""
    return (mixture.to(tensors) @ tensors.flatten(2)).unflatten(2, tensors.shape[2:])


def picked(
    asked: Float[Tensor, "b m C"], wanted: Float[Tensor, "b r C"], tensors: Float[Tensor, "b m *rest"]
) -> Float[Tensor, "b r *rest"]:
    """Return what belongs to the wanted rows, of what was made for the rows that were asked.

    Raises:
        NotGathered: a wanted row was not asked.
    """
    reached = _reached(asked, wanted)
    asked, rows = asked[:, :, reached], wanted[:, :, reached].to(asked)
    same = (rows[:, :, None] - asked[:, None]).abs().amax(3) <= 1e-6 * rows.abs().amax(2)[:, :, None]
    if not bool(same.any(2).all()):
        raise NotGathered(
            "this question was not asked when the model was looked at, and the maps of others do not answer it; "
            "explain with it, or ask with collect=True to run the model again"
        )
    which = same.to(torch.uint8).argmax(2)
    return tensors[torch.arange(len(which), device=which.device)[:, None], which]


def _reached(*rows: Float[Tensor, "b _m C"]) -> Int[Tensor, " n"]:
    """Return the classes in which any row of any image has a coefficient; at least one."""
    some = torch.stack([(one != 0).flatten(0, 1).any(0).cpu() for one in rows]).any(0)
    some[0] |= ~some.any()
    return some.nonzero().flatten().to(rows[0].device)
