"""What the live view is given, made from explanations in the plainest way: base64 tables, and a page around them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.explanations.explanation import Explanation
from finercam.report import render

VIEW = Path(render.__file__).parent / "view"


def table(maps: Any) -> dict[str, Any]:
    """Return maps n h w in 16 bits."""
    values = np.asarray(maps, dtype=np.float64)
    mean = values.mean(0).astype("<f4")
    rest = values - mean
    scale = np.abs(rest).reshape(len(rest), -1).max(1) / 32767
    packed = np.round(rest / np.where(scale > 0, scale, 1)[:, None, None]).astype("<i2")
    return {
        "shape": list(values.shape),
        "scale": scale.tolist(),
        "mean": base64.b64encode(mean.tobytes()).decode(),
        "values": base64.b64encode(zlib.compress(packed.tobytes())).decode(),
    }


def _uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "webp", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def kept(explanation: Explanation, answers: list[dict[str, Any]] | None = None, most: int = 1200) -> dict[str, Any]:
    """Return an explanation whose evidence answers every class, as the view reads it."""
    evidence, contrast = explanation.evidence, explanation.contrast
    assert evidence is not None and isinstance(contrast, Contrast)
    n = len(explanation.logits)
    maps = evidence.maps(torch.eye(n)[None])[0]
    photo, placement = explanation.photo(), explanation.placement
    photo.thumbnail((most, most))
    place = None
    if placement is not None:
        resized = placement.resized(photo.size)
        place = {
            name: {"scale": axis.scale, "shift": axis.shift, "photo": axis.photo, "input": axis.input}
            for name, axis in (("x", resized.x), ("y", resized.y))
        }
    cells = list(maps.shape[1:])
    return {
        "picture": _uri(photo),
        "size": list(photo.size),
        "image_size": list(evidence.image_size),
        "placement": place,
        "classes": list(range(n)),
        "logits": explanation.logits.tolist(),
        "probabilities": explanation.probabilities.tolist(),
        "similarities": None,
        "asked": {
            "answer": 0,
            "target": explanation.target,
            "references": list(explanation.references),
            "gamma": contrast.strength,
            "reverse": contrast.reverse,
            "weighting": contrast.weighting,
            "aggregate": contrast.aggregate,
            "against": "similar",
            "objective": None,
        },
        "answers": answers
        or [{"method": "gradcam", "title": "Grad-CAM", "kind": "classes", "cells": cells, "maps": table(maps)}],
        "shares": {
            "exact": True,
            "cells": cells,
            "maps": table(maps),
            "rest": (explanation.logits - maps.flatten(1).sum(1)).tolist(),
            "sentence": "The network ends in pooling and one linear layer: its logit is the sum over the cells, and a bias.",
        },
        "curves": None,
    }


def light(explanation: Explanation, name: str) -> dict[str, Any]:
    """Return what the gallery shows of a photo."""
    logits, probabilities = explanation.logits, explanation.probabilities
    target, predicted = explanation.target, int(logits.argmax())
    others = logits.clone()
    others[target] = -torch.inf
    one, other = (m / m.sum().clamp(min=1e-12) for m in (explanation.saliency, explanation.plain))
    thumb = explanation.photo()
    thumb.thumbnail((160, 160))
    return {
        "name": name,
        "target": target,
        "references": list(explanation.references),
        "predicted": predicted,
        "probability": float(probabilities[predicted]),
        "target_probability": float(probabilities[target]),
        "margin": float(logits[target] - others.max()),
        "empty": explanation.empty,
        "change": float(1 - torch.minimum(one, other).sum()),
        "thumb": _uri(thumb),
    }


def data(explanations: list[Explanation], names: list[str] | None = None) -> dict[str, Any]:
    """Return the view's data without the photos' evidence."""
    facts = explanations[0].facts
    return {
        "schema": 1,
        "finercam": "0.2.0",
        "title": "Why this bird?",
        "model": {
            "name": Path(facts.name).name,
            "classes": facts.classes,
            "names": names or list(facts.labels.names),
            "probabilities": facts.probabilities,
            "similarity": False,
        },
        "colours": base64.b64encode(render.colours(np.arange(256) / 255).round().astype(np.uint8).tobytes()).decode(),
        "photos": [light(one, Path(one.source or f"photo {i}").name) for i, one in enumerate(explanations)],
    }


def page(light_data: dict[str, Any], evidence: list[dict[str, Any]]) -> str:
    """Return one HTML file that shows them, under a strict policy."""

    def block(identity: str, value: Any) -> str:
        text = json.dumps(value).replace("<", "\\u003c")
        return f'<script type="application/json" id="{identity}">{text}</script>'

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    style = (VIEW / "view.css").read_text(encoding="utf-8")
    script = (VIEW / "view.js").read_text(encoding="utf-8") + (
        "\nconst part = (id) => JSON.parse(document.getElementById(id)?.textContent ?? 'null');\n"
        "const host = { get: (name) => part(name.replace('/', '-')), set() {}, save_changes() {}, on() {} };\n"
        "render({ model: host, el: document.getElementById('view') });\n"
    )
    policy = f"default-src 'none'; img-src data: blob:; script-src {digest(script)}; style-src {digest(style)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>finercam</title>'
        f'<style>{style}</style></head><body><div id="view"></div>'
        + block("data", light_data)
        + "".join(block(f"kept-{i}", one) for i, one in enumerate(evidence))
        + f'<script type="module">{script}</script></body></html>'
    )
