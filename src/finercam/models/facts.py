"""What an explanation must know of a model, without the model."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.labels import Labels, display_name
from finercam.models.assumed import SOFTMAX, as_probabilities


@dataclass(frozen=True, eq=False)
class Facts:
    """What an explanation must know of a classifier: names, where it was looked at, and how to show its input.

    Attributes:
        name: the model's.
        classes: how many logits there are.
        labels: their names, if they have any.
        layers: dotted names of the target layers.
        mean, std: what the input was normalised by, per channel.
        probabilities: what makes probabilities of the logits: ``softmax`` or ``sigmoid``.
        prompts: whether the classes are prompts, of which the similarity to the image is shown and not a probability
            among them.
        scale, shift: a prompt's logit is ``scale * cosine + shift``.
        rows: of the final linear layer, where there is one and it is at hand.
    """

    name: str
    classes: int
    labels: Labels | None
    layers: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    probabilities: str = SOFTMAX
    prompts: bool = False
    scale: float = 1.0
    shift: float = 0.0
    rows: Float[Tensor, "C K"] | None = field(default=None, repr=False)

    def class_name(self, index: int) -> str:
        """Return the name of a class, or ``class 7`` where there are no names."""
        return display_name(index, self.labels)

    def probabilities_of(self, logits: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        """Return the classes' probabilities, 0 to 1."""
        return as_probabilities(logits, self.probabilities)

    def similarities(self, logits: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        """Return the cosines, -1 to 1, of the image's embedding and the prompts'."""
        return ((logits.double() - self.shift) / self.scale).to(torch.float32)
