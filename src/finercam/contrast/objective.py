"""Any question that is a function of the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.contrast.labels import Labels
from finercam.contrast.question import Question
from finercam.contrast.references import Targets, find_targets
from finercam.errors import FinercamError


@dataclass(frozen=True)
class Objective:
    """Any question that is a function of the logits: ``v = df/dlogits``.

    Args:
        function: takes logits ``b C`` and returns one number per image, ``b``; differentiable.
        name: what the picture says is explained.
    """

    function: Callable[[Tensor], Tensor]
    name: str = "objective"

    def ask(
        self,
        logits: Float[Tensor, "b C"],
        targets: Targets = None,
        *,
        labels: Labels | None = None,
        head: Float[Tensor, "C K"] | None = None,
    ) -> Question:
        """Return one row per image: the objective's gradient at its logits."""
        # Also where the caller is in inference mode: a copy made outside of it can be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            y = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).clone().requires_grad_()
            value = self.function(y)
            if value.shape != y.shape[:1] or not value.requires_grad:
                raise FinercamError(
                    f"an objective must return one number per image, differentiable in the logits; {self.name!r} "
                    f"returned shape {tuple(value.shape)} for logits of shape {tuple(y.shape)}"
                )
            # Images are independent, so the gradient of the sum holds each image's own gradient.
            (rows,) = torch.autograd.grad(value.sum(), y)
        none = torch.empty(len(y), 0, dtype=torch.long, device=y.device)
        targets_found = find_targets(targets, y, labels)
        return Question(rows[:, None], torch.ones_like(rows[:, :1]), targets_found, none, by_class=False)

    @property
    def alone(self) -> Contrast:
        """The target's logit, beside which an objective's map is shown."""
        return PLAIN

    def classes_of(self, index: int, labels: Labels | None) -> list[int]:
        """Return the classes that one stands for: itself."""
        return [index]

    def part(self, images: slice) -> Objective:
        """Return the objective: it is the same for every image."""
        return self

    def sentence(self, target: int, references: Sequence[int], labels: Labels | None) -> str:
        """Return the objective's name."""
        return self.name
