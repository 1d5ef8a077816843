"""Methods by the evidence that they gather, and their maps."""

from __future__ import annotations

from torch import Tensor

from finercam import METHODS, Classifier, Contrast, answer, gather
from finercam.methods.gradients import gather_gradients

GRADIENT = [name for name, how in METHODS.items() if how.gatherer is gather_gradients]
#: One method per kind of evidence.
KINDS = ["gradcam", "scorecam", "ablationcam", "rise@masks=24@cells=3"]
#: All of them; those that draw masks with fewer.
ALL = [name for name in METHODS if METHODS[name].function is not None] + KINDS[3:]


def maps(model: Classifier, images: Tensor, method: str) -> Tensor:
    evidence, (question,) = gather(model, images, [Contrast()], method=method)
    return answer(evidence, question).maps


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    peak = float(theirs.abs().max())
    assert peak > 1e-6
    assert float((ours - theirs).abs().max()) <= tolerance * peak
