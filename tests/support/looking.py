"""One look at a classifier, as the methods take it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from finercam.methods.gradients import GradientEvidence
from finercam.methods.method import find_method
from finercam.models import Classifier


def look(classifier: Classifier, images: Tensor, rows: Callable[[Tensor], Tensor]) -> GradientEvidence:
    """Return the evidence of gradient methods for rows that are chosen after the logits are seen."""
    how = find_method("gradcam")
    with classifier.look(images, at=how.taps(classifier)) as open_look:
        evidence = how.gather(open_look, rows(open_look.logits))
    assert isinstance(evidence, GradientEvidence)
    return evidence
