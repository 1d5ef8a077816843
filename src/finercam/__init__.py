"""finercam: why did the classifier say this class and not its look-alike?

>>> import finercam
>>> model = finercam.load("timm/resnet50.a1_in1k")
>>> explanation = finercam.explain(model, "bird.jpg")
>>> explanation.save("why.png")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from finercam.answering import Answer as Answer
    from finercam.answering import answer as answer
    from finercam.answering import gather as gather
    from finercam.answering import saliency as saliency
    from finercam.contrast.contrast import PLAIN as PLAIN
    from finercam.contrast.contrast import Contrast as Contrast
    from finercam.contrast.contrast import Objective as Objective
    from finercam.errors import FinercamError as FinercamError
    from finercam.explaining import explain as explain
    from finercam.explanation import Explanation as Explanation
    from finercam.methods.cams import METHODS as METHODS
    from finercam.methods.cams import method as method
    from finercam.models import Classifier as Classifier
    from finercam.models import load as load
    from finercam.models.grid import Grid as Grid

# Loaded when first used: the command line and a plain import stay fast.
_WHERE = {
    "Answer": "answering",
    "answer": "answering",
    "gather": "answering",
    "saliency": "answering",
    "METHODS": "methods.cams",
    "method": "methods.cams",
    "Classifier": "models",
    "load": "models",
    "PLAIN": "contrast.contrast",
    "Contrast": "contrast.contrast",
    "Objective": "contrast.contrast",
    "FinercamError": "errors",
    "explain": "explaining",
    "Explanation": "explanation",
    "Grid": "models.grid",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finercam' has no attribute {name!r}")
    return getattr(import_module(f"finercam.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
