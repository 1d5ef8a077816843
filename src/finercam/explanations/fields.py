"""What is written of an explanation beside its maps: one line of JSON. ``docs/fields.md`` is its dictionary."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from finercam.contrast.contrast import Contrast
from finercam.data.photos import Crop

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

#: Of the records; raised when a field changes its meaning or goes.
SCHEMA = 1
#: How many of the most probable classes are listed.
_TOP = 5


def record(explanation: Explanation) -> dict[str, Any]:
    """Return everything but the maps as plain data."""
    contrast, logits = explanation.contrast, explanation.logits
    asked: dict[str, Any]
    if isinstance(contrast, Contrast):
        asked = {
            "gamma": contrast.gamma,
            "against": contrast.against,
            "weighting": contrast.weighting,
            "aggregate": contrast.aggregate,
            "reverse": contrast.reverse,
        }
        among = contrast.among(explanation.target, explanation.references, explanation.facts.labels)
        if among is not None:
            asked["among"] = {"rank": among.rank, "name": among.name}
        if contrast.rank is not None:
            asked["rank"] = contrast.rank
            asked["taxon"] = contrast.called(explanation.target, explanation.facts.labels)
    else:
        asked = {"objective": contrast.name}
    box = None if explanation.original is None else explanation.original.box
    top = logits.topk(min(_TOP, len(logits))).indices.tolist()
    return {
        "schema": SCHEMA,
        "image": explanation.source,
        **({} if box is None else {"box": box}),
        "question": str(explanation),
        "target": _of_class(explanation, explanation.target),
        "references": [_of_class(explanation, index) for index in explanation.references],
        "top": [_of_class(explanation, index) for index in top],
        **asked,
        "method": explanation.method.spec,
        "layer": list(explanation.facts.layers),
        "model": explanation.facts.name,
        "probabilities": explanation.facts.probabilities,
        **_fitted(explanation),
        "precision": explanation.run.precision,
        "empty": explanation.empty,
        "peak": float(explanation.saliency.max()),
        "plain_peak": float(explanation.plain.max()),
    }


def _fitted(explanation: Explanation) -> dict[str, str]:
    """Return how the photo was brought to the model's input, where it is known."""
    placement = explanation.placement
    return {} if placement is None else {"fit": placement.fit}


def failure(photo: str | os.PathLike[str] | Crop, error: str) -> dict[str, Any]:
    """Return the record of a photo, or an animal on one, that could not be explained."""
    if isinstance(photo, Crop):
        return {"schema": SCHEMA, "image": str(photo.photo), "box": {"number": photo.number}, "error": error}
    return {"schema": SCHEMA, "image": str(photo), "error": error}


def _of_class(explanation: Explanation, index: int) -> dict[str, Any]:
    logit = float(explanation.logits[index])
    similarities = explanation.similarities
    similar = {} if similarities is None else {"similarity": float(similarities[index])}
    return {
        "index": index,
        "name": explanation.facts.class_name(index),
        "probability": float(explanation.probabilities[index]),
        "logit": logit if math.isfinite(logit) else None,
        **similar,
    }
