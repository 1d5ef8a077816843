"""What a model's outputs are taken for: logits, from which a softmax or a sigmoid makes probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError, nearest
from finercam.models.trial import Trial

SOFTMAX: Final = "softmax"
SIGMOID: Final = "sigmoid"
#: How logits become probabilities: among the classes, or for each class by itself.
KINDS = (SOFTMAX, SIGMOID)
#: Operations of autograd's that change no value.
_PASSING = ("View", "ReshapeAlias", "UnsafeView", "Squeeze", "Unsqueeze", "Clone", "ToCopy", "Alias", "Slice", "Expand")


def check_kind(kind: str) -> None:
    """Raise unless this is a way to make probabilities of logits."""
    if kind not in KINDS:
        raise FinercamError(f"probabilities is {kind!r}; {nearest(kind, KINDS)}")


def as_probabilities(logits: Float[Tensor, "*any C"], kind: str) -> Float[Tensor, "*any C"]:
    """Return the probabilities of classes, in float32 or better.

    Args:
        logits: of all classes.
        kind: ``softmax`` among the classes, or ``sigmoid`` for each by itself, as where several are there at once.
    """
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return exact.sigmoid() if kind == SIGMOID else exact.softmax(-1)


@dataclass(frozen=True)
class BothSides:
    """Reads a single logit z as the logits z/2 of its class and -z/2 of "not this class".

    Their softmax is ``sigmoid(z)`` and its complement, and what tells the two apart is z. Both have a map of their own:
    what speaks for the class, and what speaks against it.

    Args:
        read: gives the single logit, b 1.
    """

    read: Callable[[Any], Tensor]

    def __call__(self, output: Any) -> Float[Tensor, "b 2"]:
        """Return both logits."""
        half = self.read(output) / 2
        return torch.cat([half, -half], 1)


def refuse_squashed(tried: Trial, logits: Float[Tensor, "1 C"]) -> None:
    """Raise if what is read as logits went through a sigmoid or a log-softmax, as far as that can be seen.

    The values alone do not tell: logits may lie between 0 and 1, too. What autograd recorded of the last operation
    does, and the logarithms of probabilities that sum to 1 are nobody's logits.

    A log-softmax is refused although it takes only a constant per image off the logits y: log p = y - logsumexp(y). The
    coefficients of a contrast sum to 1 - gamma, so its gradient would hold -(1 - gamma) times that of logsumexp(y),
    which draws the map towards all classes that the model considers. With gamma 1 nothing of it is left; the plain map
    has all of it. From log p alone the logits, and so the gradient of the constant, cannot be had.

    Args:
        tried: a trial of the model.
        logits: what was read of it.
    """
    last = tried.last_operation(_PASSING)
    if last.startswith("Sigmoid") and bool(((logits >= 0) & (logits <= 1)).all()):
        raise FinercamError(
            "the model returns probabilities, each class's by a sigmoid, but a contrast is a difference of logits; "
            "remove the final sigmoid, or give read=torch.logit; and say probabilities='sigmoid'"
        )
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    summed = exact.shape[1] > 1 and bool((exact <= 0).all()) and bool((exact.logsumexp(1).abs() < 1e-5).all())
    if summed or last.startswith("LogSoftmax"):
        raise FinercamError(
            "the model returns log-probabilities (the logarithm of a softmax), whose common normaliser would be part "
            "of every map unless gamma is 1, and cannot be taken out of them; remove the final log-softmax, or give "
            "read= a function that returns the logits"
        )
