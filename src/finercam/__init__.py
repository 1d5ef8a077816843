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
    from finercam.cams import METHODS as METHODS
    from finercam.cams import method as method
    from finercam.classifiers import Classifier as Classifier
    from finercam.classifiers import load as load
    from finercam.contrast import PLAIN as PLAIN
    from finercam.contrast import Contrast as Contrast
    from finercam.contrast import Objective as Objective
    from finercam.errors import FinercamError as FinercamError
    from finercam.explaining import explain as explain
    from finercam.explanation import Explanation as Explanation
    from finercam.grid import Grid as Grid

# Loaded when first used: the command line and a plain import stay fast.
_WHERE = {
    "Answer": "answering",
    "answer": "answering",
    "gather": "answering",
    "saliency": "answering",
    "METHODS": "cams",
    "method": "cams",
    "Classifier": "classifiers",
    "load": "classifiers",
    "PLAIN": "contrast",
    "Contrast": "contrast",
    "Objective": "contrast",
    "FinercamError": "errors",
    "explain": "explaining",
    "Explanation": "explanation",
    "Grid": "grid",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finercam' has no attribute {name!r}")
    return getattr(import_module(f"finercam.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
