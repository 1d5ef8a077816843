"""finercam: why did the classifier say this class and not its look-alike?

>>> import finercam
>>> model = finercam.load("timm/resnet50.a1_in1k")
>>> explanation = finercam.explain(model, "bird.jpg")
>>> path = explanation.save("why.png")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from finercam.contrast.contrast import PLAIN as PLAIN
    from finercam.contrast.contrast import Contrast as Contrast
    from finercam.contrast.objective import Objective as Objective
    from finercam.data.boxes import read_boxes as read_boxes
    from finercam.data.format import data_format as data_format
    from finercam.data.photos import Crop as Crop
    from finercam.data.photos import open_photo as open_photo
    from finercam.data.reading import read_dataset as read_dataset
    from finercam.data.regions import Region as Region
    from finercam.errors import FinercamError as FinercamError
    from finercam.explanations.answering import Answer as Answer
    from finercam.explanations.answering import answer as answer
    from finercam.explanations.answering import ask as ask
    from finercam.explanations.answering import gather as gather
    from finercam.explanations.explaining import explain as explain
    from finercam.explanations.explaining import saliency as saliency
    from finercam.explanations.explanation import Explanation as Explanation
    from finercam.explanations.files import explain_files as explain_files
    from finercam.explanations.pairs import Pair as Pair
    from finercam.explanations.pairs import pair as pair
    from finercam.explanations.writers import writer as writer
    from finercam.methods.evidence import Evidence as Evidence
    from finercam.methods.method import METHODS as METHODS
    from finercam.methods.method import Method as Method
    from finercam.methods.method import explainer as explainer
    from finercam.methods.method import method as method
    from finercam.metrics.metric import METRICS as METRICS
    from finercam.metrics.metric import metric as metric
    from finercam.metrics.view import Needs as Needs
    from finercam.metrics.view import View as View
    from finercam.models.classifier import Classifier as Classifier
    from finercam.models.grid import Grid as Grid
    from finercam.models.loading import load as load
    from finercam.models.look import INPUT as INPUT
    from finercam.models.look import Look as Look
    from finercam.models.run import Run as Run
    from finercam.models.source import source as source
    from finercam.report.figure import figure as figure

# Loaded when first used: the command line and a plain import stay fast.
_WHERE = {
    "Answer": "explanations.answering",
    "answer": "explanations.answering",
    "ask": "explanations.answering",
    "gather": "explanations.answering",
    "saliency": "explanations.explaining",
    "explain": "explanations.explaining",
    "explain_files": "explanations.files",
    "Explanation": "explanations.explanation",
    "Pair": "explanations.pairs",
    "pair": "explanations.pairs",
    "METHODS": "methods.method",
    "method": "methods.method",
    "explainer": "methods.method",
    "Method": "methods.method",
    "Evidence": "methods.evidence",
    "Classifier": "models.classifier",
    "load": "models.loading",
    "Run": "models.run",
    "Look": "models.look",
    "INPUT": "models.look",
    "Grid": "models.grid",
    "PLAIN": "contrast.contrast",
    "Contrast": "contrast.contrast",
    "Objective": "contrast.objective",
    "FinercamError": "errors",
    "writer": "explanations.writers",
    "source": "models.source",
    "figure": "report.figure",
    "Needs": "metrics.view",
    "View": "metrics.view",
    "METRICS": "metrics.metric",
    "metric": "metrics.metric",
    "data_format": "data.format",
    "read_dataset": "data.reading",
    "open_photo": "data.photos",
    "Crop": "data.photos",
    "read_boxes": "data.boxes",
    "Region": "data.regions",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finercam' has no attribute {name!r}")
    return getattr(import_module(f"finercam.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
