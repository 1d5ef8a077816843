"""Contrasts as an evaluation names and combines them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from finercam.contrast.contrast import COMPARED, PLAIN, WEIGHTINGS, Contrast, exactly
from finercam.errors import FinercamError, nearest

#: The name of a base method's own rows.
PLAIN_NAME = "plain"
CONTRASTS = (PLAIN_NAME, "finer")
#: References in a contrast's name: how they are chosen, or the classes themselves as JSON.
_AGAINST = re.compile(r" against=(\[.*\]|\S+)")


def contrast_name(contrast: Contrast) -> str:
    """Return a contrast's name in rows: what differs from Finer-CAM as published, so that it means one thing.

    ``plain``, ``finer``, ``finer gamma=1 references=1 max``. Numbers are as short as tells them from all others.
    """
    of_taxa = "" if contrast.rank is None else f" rank={contrast.rank}"
    if contrast.strength == 0 and not contrast.reverse:
        return PLAIN_NAME + of_taxa
    usual = Contrast(weighting=contrast.weighting)
    parts = ["finer"]
    if contrast.strength != usual.strength:
        parts.append(f"gamma={exactly(contrast.strength)}")
    # A single rank is one reference, however many were asked for; so is the class compared with.
    single = contrast.against == COMPARED or "@" in str(contrast.against)
    if contrast.references != usual.references and not single:
        parts.append(f"references={contrast.references}")
    if contrast.against != usual.against:
        named = contrast.against
        parts.append(f"against={named if isinstance(named, str) else json.dumps(named, separators=(',', ':'))}")
    parts += [value for value in (contrast.weighting, contrast.aggregate) if value != "mean"]
    if contrast.reverse:
        parts.append("reverse")
    return " ".join(parts) + of_taxa


def contrast_of(name: str) -> Contrast | None:
    """Return the contrast of a name that ``contrast_name`` gave; ``None`` where it is not one: of a given map."""
    if name == PLAIN_NAME:
        return PLAIN
    # Names of classes may have spaces in them, and nothing else has.
    found = _AGAINST.search(name)
    first, *parts = _AGAINST.sub("", name, count=1).split(" ")
    if first != "finer":
        return None
    options: dict[str, Any] = {}
    if found is not None:
        given = found[1]
        options["against"] = json.loads(given) if given.startswith("[") else given
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            options[key] = float(value) if key == "gamma" else int(value)
        elif part == "reverse":
            options["reverse"] = True
        else:
            options["weighting" if part in WEIGHTINGS else "aggregate"] = part
    try:
        return Contrast(**options)
    except TypeError as error:
        raise FinercamError(f"{name!r} is not the name of a contrast") from error


def contrasts_of(
    which: Sequence[str] = CONTRASTS,
    *,
    gammas: Sequence[float] | None = None,
    references: Sequence[int] = (3,),
    against: Sequence[str] = ("similar",),
    weightings: Sequence[str] = ("mean",),
    aggregates: Sequence[str] = ("mean",),
) -> tuple[Contrast, ...]:
    """Return the plain CAM and every combination of the options, each once.

    Args:
        which: ``plain``, ``finer`` or both.
        gammas: strengths; ``None`` is each weighting's own.
        references, against, weightings, aggregates: those of ``Contrast``.
    """
    for name in which:
        if name not in CONTRASTS:
            raise FinercamError(f"contrasts are {', '.join(CONTRASTS)}, not {name!r}; {nearest(name, CONTRASTS)}")
    made = [PLAIN] if PLAIN_NAME in which else []
    if "finer" in which:
        strengths: Sequence[float | None] = (None,) if gammas is None else gammas
        for against_, weighting, aggregate, count, gamma in itertools.product(
            against, weightings, aggregates, references, strengths
        ):
            made.append(Contrast(against_, count, gamma, weighting, aggregate))
    return tuple({contrast_name(contrast): contrast for contrast in made}.values())


def swept(name: str) -> tuple[float, int] | None:
    """Return strength and number of references of a contrast by its name, if nothing else of it is unusual.

    ``finer gamma=1 references=1`` is (1, 1). The plain map, controls and other ways of comparing are ``None``.
    """
    # Controls have a comma and what they are behind the name.
    found = None if ", " in name else contrast_of(name)
    if found is None or found == PLAIN or found.changed(gamma=None, references=Contrast().references) != Contrast():
        return None
    return found.strength, found.references
