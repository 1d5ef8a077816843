"""What is kept of a method's evidence, so that a browser can ask it again.

Where the map is linear in the row of coefficients, a map for each class: any strength and any of these classes can then
be asked. Elsewhere finished maps at a row of strengths, between which the view interpolates; how far off that is, is
measured here and shown there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.explanations.answering import answer, ask
from finercam.methods.evidence import Evidence, NotGathered
from finercam.methods.gradients import one_hot_rows
from finercam.report.view.tables import shrunk, table

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation

#: Strengths at which maps are tabulated that are not linear in the row.
STRENGTHS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)
#: How far a sum of classes' maps may be from the map of the sum, over its peak, to be taken for the same.
_LINEAR = 1e-3


def packed_answer(explanation: Explanation, classes: Sequence[int], most: int) -> dict[str, Any]:
    """Return what a browser needs to ask an explanation's evidence again.

    Args:
        explanation: with its evidence.
        classes: that are to be kept where each has a map of its own; those that the evidence has.
        most: how many values may be kept, about.
    """
    evidence = explanation.evidence
    assert evidence is not None
    said = {"method": explanation.method.spec, "title": explanation.method.full_title}
    try:
        if not isinstance(explanation.contrast, Contrast) or explanation.contrast.rank is not None:
            return {**said, **_fixed(explanation, evidence, most)}
        return {
            **said,
            **(_by_class(explanation, evidence, classes, most) or _by_strength(explanation, evidence, most)),
        }
    except NotGathered:
        # Evidence that answers no mixtures of rows, as of methods that choose layers or copies for one row.
        return {**said, **_fixed(explanation, evidence, most)}


def _by_class(explanation: Explanation, evidence: Evidence, classes: Sequence[int], most: int) -> dict[str, Any] | None:
    """Return a map for each class, or ``None`` where the answer is not made of these."""
    found = evidence.classes()
    if found is not None and not {explanation.target, *explanation.references} <= set(found):
        return None
    mixed = _asked(explanation, evidence, 1.0).rows
    own = torch.cat([mixed, 0.5 * mixed[:, :1], -mixed[:, :1]], 1)
    reached = own[0].abs().amax(0).nonzero().flatten().tolist()
    single = _maps(evidence, _one_hot(evidence, reached))
    expected, given = torch.einsum("rn,nhw->rhw", own[0][:, reached].to(single), single), _maps(evidence, own)
    if float((expected - given).abs().max()) > _LINEAR * float(given.abs().max()):
        return None
    first = list(dict.fromkeys([explanation.target, *explanation.references]))
    # At least those that were asked about; of the others as many as there is room for.
    room = max(len(first), most // (single.shape[1] * single.shape[2]))
    kept = list(dict.fromkeys([*first, *(one for one in classes if found is None or one in found)]))[:room]
    return {"kind": "classes", "classes": kept, **_packed(_maps(evidence, _one_hot(evidence, kept)), most)}


def _by_strength(explanation: Explanation, evidence: Evidence, most: int) -> dict[str, Any]:
    """Return finished maps at a row of strengths: of what was asked, and while there is room of what is near."""
    contrast = explanation.contrast
    assert isinstance(contrast, Contrast)
    wanted = [(explanation.references, False)]
    # The authors' weighting has no other direction.
    if contrast.weighting != "official":
        wanted.append((explanation.references, True))
    if len(explanation.references) > 1:
        wanted += [((one,), False) for one in explanation.references]
    tables: list[dict[str, Any]] = []
    # What was asked is there as it was answered, whatever its strength.
    strengths = sorted({*STRENGTHS, contrast.strength})
    for references, reverse in sorted(wanted, key=lambda one: (len(one[0]) == 1, one[1] != contrast.reverse)):
        maps = _at(explanation, evidence, references, reverse, strengths)
        if tables and (1 + len(tables)) * maps.numel() > most:
            break
        between = [(a + b) / 2 for a, b in pairwise(strengths)]
        true = _at(explanation, evidence, references, reverse, between).relu()
        guessed = ((maps[1:] + maps[:-1]) / 2).relu()
        # Where hardly anything is left of a map, its error is small beside what is shown next to it.
        alone = maps[strengths.index(0.0)].relu().max()
        peaks = torch.maximum(true.amax((1, 2)), alone).clamp(min=1e-12)
        error = float(((true - guessed).abs().amax((1, 2)) / peaks).max())
        about = {"target": explanation.target, "references": list(references), "reverse": reverse}
        shown = _packed(maps, most)
        tables.append({**about, "strengths": strengths, "error": error, **shown})
    return {"kind": "strengths", "cells": tables[0]["maps"]["shape"][1:], "tables": tables}


def _fixed(explanation: Explanation, evidence: Evidence, most: int) -> dict[str, Any]:
    """Return the plain map and the one asked for, with nothing to move."""
    plain = ask(explanation.facts, evidence.logits, [explanation.contrast.alone], explanation.target)[0]
    maps = torch.stack([answer(evidence, plain).maps[0], explanation.map])
    return {"kind": "fixed", **_packed(maps, most)}


def _at(
    explanation: Explanation, evidence: Evidence, references: Sequence[int], reverse: bool, strengths: Sequence[float]
) -> Float[Tensor, "s h w"]:
    contrast = explanation.contrast
    assert isinstance(contrast, Contrast)
    asked = [
        contrast.changed(against=[list(references)], gamma=strength, reverse=reverse) if references else PLAIN
        for strength in strengths
    ]
    questions = ask(explanation.facts, evidence.logits, asked, explanation.target)
    return torch.cat([answer(evidence, question).maps for question in questions])


def _asked(explanation: Explanation, evidence: Evidence, strength: float) -> Any:
    references = [list(explanation.references)]
    contrast = Contrast(against=references, gamma=strength) if explanation.references else PLAIN
    return ask(explanation.facts, evidence.logits, [contrast], explanation.target)[0]


def _maps(evidence: Evidence, rows: Float[Tensor, "1 r C"]) -> Float[Tensor, "r h w"]:
    return evidence.maps(rows)[0]


def _one_hot(evidence: Evidence, classes: Sequence[int]) -> Float[Tensor, "1 n C"]:
    indices = torch.tensor([list(classes)], device=evidence.logits.device)
    return one_hot_rows(indices, evidence.logits.shape[1], evidence.logits)


def _packed(maps: Float[Tensor, "n h w"], most: int) -> dict[str, Any]:
    small = shrunk(maps, most)
    cells = {"cells": list(small.shape[1:])}
    of = {} if small.shape == maps.shape else {"shrunk": list(maps.shape[1:])}
    return {**cells, **of, "maps": table(small)}
