"""What was seen of a model, kept so that many questions can be asked of it without the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError

if TYPE_CHECKING:
    from finercam.contrast.labels import Labels
    from finercam.methods.method import Method


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


@dataclass(frozen=True, eq=False)
class Evidence(ABC):
    """What a method gathered from one look at a model, for a batch.

    Fields that are tensors, tuples of tensors or plain data are what ``save`` writes; others are marked
    ``metadata={"kept": False}``.

    Attributes:
        logits: in float32 or better.
        image_size: height and width of the images.
        how: the method that gathered it, or another one that reads the same evidence (``by``).
        labels: the classes' names, for messages.
    """

    logits: Float[Tensor, "b C"]
    image_size: tuple[int, int]
    how: Method | None = field(default=None, kw_only=True, repr=False, metadata={"kept": False})
    labels: Labels | None = field(default=None, kw_only=True, repr=False, metadata={"kept": False})

    @abstractmethod
    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r _h _w"]:
        """Return the signed map of each row of coefficients, at the evidence's own resolution.

        Raises:
            NotCollected: the rows reach classes outside the span of what was gathered; the message names them.
        """

    @abstractmethod
    def of(self, images: slice | Int[Tensor, " n"]) -> Evidence:
        """Return the evidence of some images of the batch (views where they are a slice)."""

    def classes(self) -> list[int] | None:
        """Return the classes that questions may reach; ``None`` where every class may be asked about."""
        return None

    @property
    def complete(self) -> bool:
        """Whether gradient times activation, summed over all cells, is a logit but for a constant of its class."""
        return False

    def by(self, how: Method) -> Evidence:
        """Return the same evidence, read by another method.

        Raises:
            NotGathered: that method gathers something else.
        """
        assert self.how is not None
        if not how.gathers_as(self.how):
            raise NotGathered(
                f"{how.full_title} gathers other evidence than {self.how.full_title}, which was kept; explain with "
                f"method={how.spec!r}, or ask with collect=True to run the model again"
            )
        return replace(self, how=how)
