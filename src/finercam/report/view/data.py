"""What the live view is given: plain data, a little of every photo at once, the rest of each when it is opened.

The page, the notebook and the app show the same. ``docs/view.md`` is the dictionary of these fields.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.errors import FinercamError
from finercam.explanations.answering import gather
from finercam.explanations.speaking import Shares, shares_from
from finercam.methods.evidence import NotGathered
from finercam.report.explained import model_name
from finercam.report.render import colour_table
from finercam.report.view.answers import packed_answer
from finercam.report.view.tables import table
from finercam.texts import printable

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation
    from finercam.models.facts import Facts

SCHEMA = 1
#: Of the classes with the highest logits, how many are gathered for a page where each costs a backward pass.
LIKELIEST = 10
#: Bytes of a page's photos and maps, before they are made text (a third more); and the most for one photo.
_PAGE, _PHOTO = 9_000_000, 4_000_000
#: Longer side in pixels, and quality, of a page's photos: of few, of some, of many.
_SIDES = ((3, 1200, 85), (30, 1000, 80), (1 << 30, 800, 75))
_THUMB = 160


def page_data(facts: Facts, title: str, photos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the view needs to begin with.

    Args:
        facts: of the model.
        title: what stands above the photos.
        photos: what ``light`` gave for each.
    """
    from finercam import __version__

    names = None if facts.labels is None else [printable(name) for name in facts.labels.names]
    return {
        "schema": SCHEMA,
        "finercam": __version__,
        "title": title,
        "model": {
            "name": printable(model_name(facts.name)),
            "classes": facts.classes,
            "names": names,
            "probabilities": facts.probabilities,
            "similarity": facts.prompts,
        },
        "colours": base64.b64encode(colour_table()).decode("ascii"),
        "photos": list(photos),
    }


def light(explanations: Sequence[Explanation], known: int | None = None) -> dict[str, Any]:
    """Return what a gallery shows of a photo, sorts by and filters by.

    Args:
        explanations: of one photo.
        known: its true class, where the data says it.
    """
    first = explanations[0]
    logits, probabilities = first.logits, first.probabilities
    others = logits.clone()
    others[first.target] = -torch.inf
    top = int(logits.argmax())
    margin = float(logits[first.target] - others.max()) if len(logits) > 1 else 0.0
    return {
        "name": photo_name(first),
        "question": printable(str(first)),
        "target": first.target,
        "references": list(first.references),
        "predicted": top,
        "known": known,
        "probability": _finite(float(probabilities[top])),
        "target_probability": _finite(float(probabilities[first.target])),
        "margin": _finite(margin),
        "empty": first.empty,
        "change": changed_by(first),
        "thumb": _webp(first.view(_THUMB)[0], _THUMB, 70)[0],
    }


def kept(explanations: Sequence[Explanation], photos: int = 1, curves: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return all that the view needs of one photo.

    Args:
        explanations: of one photo, the first as it is to be shown first; with evidence, or with their model.
        photos: how many the page will have, which is what its size is shared among.
        curves: deletion curves, where they were measured: ``fraction`` of the pixels, ``lines`` of the probabilities of
            the ``target`` and the ``second`` class (each with the ``answer`` that ordered the pixels) and
            ``second_class``.

    Raises:
        NotGathered: there is neither evidence nor a model.
    """
    explanations = [_with_evidence(one) for one in explanations]
    first = explanations[0]
    side, quality = next((side, quality) for most, side, quality in _SIDES if photos <= most)
    view, placement = first.view()
    picture, size, taken = _webp(view, side, quality)
    # Two bytes a value; at least what was asked about is kept, whatever it takes.
    room = max(0, min(_PHOTO, _PAGE // photos) - taken) // 2
    order = _likeliest(first)
    answers: list[dict[str, Any]] = []
    for one in explanations:
        if all(one.method.spec != other["method"] for other in answers):
            answers.append(packed_answer(one, order, room // (len(explanations) + 1)))
    shares = _packed_shares(first, order, room // (len(explanations) + 1), explanations, answers)
    classes = list(
        dict.fromkeys(
            [
                first.target,
                *first.references,
                *(c for one in answers for c in one.get("classes", ())),
                *(c for one in answers for t in one.get("tables", ()) for c in (t["target"], *t["references"])),
                *(shares or {}).get("classes", ()),
            ]
        )
    )
    similar = first.similarities
    height, width = first.image.shape[-2:]
    return {
        "picture": picture,
        "size": list(size),
        "image_size": [height, width],
        "placement": None if placement is None else asdict(placement.resized(size)),
        "classes": classes,
        "logits": [_finite(float(first.logits[c])) for c in classes],
        "probabilities": [_finite(float(first.probabilities[c])) for c in classes],
        "similarities": None if similar is None else [_finite(float(similar[c])) for c in classes],
        "asked": _asked(first),
        "answers": answers,
        "shares": shares,
        "curves": curves,
    }


def photo_name(explanation: Explanation) -> str:
    """Return what a photo is called: its file's name, and which animal on it."""
    box = None if explanation.original is None else explanation.original.box
    which = "" if box is None else f", box {box['number']}"
    return printable(os.path.basename(os.fspath(explanation.source))) + which if explanation.source else f"photo{which}"


def changed_by(explanation: Explanation) -> float:
    """Return how much the contrast changes the map: 0 not at all, 1 where the two have nothing in common.

    One less the overlap of the plain and the finer saliency, each of which sums to 1.
    """
    plain, finer = (
        one.double() / one.double().sum().clamp(min=1e-30) for one in (explanation.plain, explanation.saliency)
    )
    return round(float(1 - torch.minimum(plain, finer).sum().clamp(max=1)), 4)


def _pair(explanation: Explanation) -> tuple[torch.Tensor, torch.Tensor]:
    return explanation.plain, explanation.saliency


def _with_evidence(explanation: Explanation) -> Explanation:
    if explanation.evidence is not None:
        return explanation
    if explanation.classifier is None:
        raise NotGathered("no evidence was kept, and there is no model to look at again; explain with keep=True")
    evidence, _ = gather(
        explanation.classifier,
        explanation.image[None],
        [explanation.contrast.alone, explanation.contrast],
        explanation.target,
        method=explanation.method,
        collect=LIKELIEST,
        run=explanation.run,
    )
    return replace(explanation, evidence=evidence)


def _likeliest(explanation: Explanation) -> list[int]:
    order = explanation.logits.argsort(descending=True, stable=True).tolist()
    return list(dict.fromkeys([explanation.target, *explanation.references, *order]))


def _asked(explanation: Explanation) -> dict[str, Any]:
    contrast = explanation.contrast
    about = {"answer": 0, "target": explanation.target, "references": list(explanation.references)}
    if not isinstance(contrast, Contrast) or contrast.rank is not None:
        # What is asked about taxa is not made of rows of single classes.
        name = str(explanation) if isinstance(contrast, Contrast) else contrast.name
        return {**about, "objective": printable(name), "gamma": 0.0, "reverse": False}
    return {
        **about,
        "objective": None,
        "gamma": contrast.strength,
        "reverse": contrast.reverse,
        "weighting": contrast.weighting,
        "aggregate": contrast.aggregate,
        "against": contrast.against if isinstance(contrast.against, str) else "named",
    }


def _packed_shares(
    first: Explanation,
    order: Sequence[int],
    most: int,
    explanations: Sequence[Explanation],
    answers: Sequence[dict[str, Any]],
) -> dict[str, Any] | None:
    """Return each place's share of the logits; ``None`` where the model ran in a way that has none."""
    shares = _shares(explanations, first, order)
    if shares is None:
        return None
    about = {"exact": shares.exact, "sentence": shares.sentence, "cells": list(shares.maps.shape[1:])}
    for number, one in enumerate(answers):
        # Where the network ends in pooling, Grad-CAM's maps are the shares.
        if one["kind"] == "classes" and "shrunk" not in one and set(one["classes"]) <= set(shares.classes):
            at = [shares.classes.index(c) for c in one["classes"]]
            answered = explanations[number].evidence
            if one["method"] in ("gradcam", "hirescam") and answered is not None and answered.complete:
                rest = [_finite(float(shares.rest[i])) for i in at]
                return {**about, "classes": one["classes"], "maps": {"answer": number}, "rest": rest}
    room = max(len({first.target, *first.references}), most // max(1, shares.maps[0].numel()))
    wanted = [c for c in order if c in set(shares.classes)][:room]
    at = [shares.classes.index(c) for c in wanted]
    rest = [_finite(float(shares.rest[i])) for i in at]
    return {**about, "classes": wanted, "maps": table(shares.maps[at]), "rest": rest}


def _shares(explanations: Sequence[Explanation], first: Explanation, order: Sequence[int]) -> Shares | None:
    """Return the shares from the first evidence that has them; else from another look, where the model is at hand."""
    for one in explanations:
        evidence = one.evidence
        if evidence is not None:
            found = evidence.classes()
            try:
                return shares_from(evidence, range(len(one.logits)) if found is None else found)
            except NotGathered:
                continue
    if first.classifier is None:
        return None
    try:
        evidence, _ = gather(
            first.classifier,
            first.image[None],
            [PLAIN],
            first.target,
            method="hirescam",
            collect=sorted({first.target, *first.references, *order[:LIKELIEST]}),
            run=first.run,
        )
        found = evidence.classes()
        return shares_from(evidence, range(len(first.logits)) if found is None else found)
    except FinercamError:
        # A network whose target layer gives no gradients has no shares; the view says that it does not know.
        return None


def _webp(picture: Image.Image, side: int, quality: int) -> tuple[str, tuple[int, int], int]:
    """Return a picture as a link that holds it, its size, and its bytes."""
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "webp", quality=quality, method=4)
    taken = buffer.getvalue()
    return "data:image/webp;base64," + base64.b64encode(taken).decode("ascii"), small.size, len(taken)


def _finite(value: float) -> float | None:
    # Six digits, which is what float32 knows: a page has many of these.
    return float(f"{value:.6g}") if np.isfinite(value) else None


__all__ = ["LIKELIEST", "SCHEMA", "changed_by", "kept", "light", "page_data", "photo_name", "replace"]
