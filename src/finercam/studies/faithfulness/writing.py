"""Findings as text and tables: ``report.md``, ``findings.csv`` and ``rows.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from finercam.contrast.labels import short_names
from finercam.files import whole
from finercam.metrics.intervals import Mean
from finercam.studies.faithfulness.examined import Examined
from finercam.studies.faithfulness.rows import Row
from finercam.studies.faithfulness.verdicts import Finding, Judgement, percent
from finercam.texts import csv_text, encoded, markdown, said_of

_MEANS = ("alignment", "chance", "advantage", "gain", "overlap", "overlap_chance", "found")
_HEADINGS = (
    "attribute or place",
    "classes",
    "difference",
    "alignment",
    "chance",
    "over chance",
    "over the plain map",
    "text model on its place",
    "verdict",
    "photos: uses, ignores, uncertain",
)
_SHARES = ("off", "off_plain", "off_area", "on_listed")


def title_of(judgement: Judgement, names: Sequence[str]) -> str:
    """Return whose photos a judgement is on: ``Red winged Blackbird, not Brewer Blackbird``."""
    if judgement.target is None or judgement.other is None:
        return "All photos"
    target, other = short_names([names[judgement.target], names[judgement.other]])
    return f"{target}, not {other}"


def write(
    folder: Path,
    judgements: Sequence[Judgement],
    examined: Sequence[Examined],
    failed: Sequence[tuple[str, str]],
    names: Sequence[str],
    heading: str,
    in_words: bool,
) -> None:
    """Write ``report.md``, ``findings.csv`` and ``rows.csv``.

    Args:
        folder: where.
        judgements: on all photos, then on pairs of classes.
        examined: the photos.
        failed: the key of each photo that could not be examined, and why.
        names: of the data set's classes.
        heading: of the report.
        in_words: whether a text model said where attributes are.
    """
    for name, content in (
        ("report.md", to_markdown(judgements, names, heading, in_words, failed)),
        ("findings.csv", findings_csv(judgements, names)),
        ("rows.csv", rows_csv(examined, names)),
    ):
        with whole(folder / name) as aside:
            aside.write_bytes(encoded(content))


def to_markdown(
    judgements: Sequence[Judgement],
    names: Sequence[str],
    heading: str,
    in_words: bool,
    failed: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the report: for each judgement its verdict, where the saliency lies, and a table of findings."""
    lines = [f"# {markdown(heading)}", "", *about(in_words), "Intervals are 95 % intervals over photos.", ""]
    for one in judgements:
        lines += [f"## {markdown(title_of(one, names))}", "", f"**{markdown(one.sentence())}**", ""]
        lines += [photos_of(one), "", f"| {' | '.join(_HEADINGS)} |", "|" + "---|" * len(_HEADINGS)]
        for found in one.findings:
            # Numbers, whose brackets are those of an interval.
            words, *numbers = cells(found)
            lines.append(f"| {' | '.join([markdown(words), *numbers])} |")
        lines.append("")
    if failed:
        lines += [
            "## Photos that could not be examined",
            "",
            *(f"- {markdown(said_of(key, error))}" for key, error in failed),
            "",
        ]
    return "\n".join(lines)


def about(in_words: bool) -> list[str]:
    """Return what the numbers of findings are: of a text model's maps, or of places."""
    if in_words:
        return [
            "Alignment is the rank correlation of the classifier's map and the text model's map of the attribute; "
            "chance is the mean over attributes that both classes have alike.",
            "Advantages over chance and over the map without the comparison are differences of correlations.",
        ]
    return [
        "Alignment is the share of the classifier's saliency on the places where the attribute is seen; chance "
        "is the share that they would have if they held as much as the places in which the classes agree.",
        "Advantages over chance and over the map without the comparison are (a - b) / (a + b): 0 for equal "
        "shares, 0.33 for twice as much, 1 for all.",
    ]


def headings() -> list[str]:
    """Return the headings of the cells of a finding."""
    return list(_HEADINGS)


def cells(found: Finding) -> list[str]:
    """Return a finding as the cells of a table."""
    return [
        found.words,
        found.status,
        f"{found.difference:.0f}",
        str(found.alignment),
        f"{found.chance.mean:.3f}",
        _signed(found.advantage),
        _signed(found.gain),
        _signed(found.found) if found.found.n else "",
        found.verdict,
        ", ".join(map(str, found.photos)),
    ]


def findings_csv(judgements: Sequence[Judgement], names: Sequence[str]) -> str:
    """Return one line per judgement and finding, every mean with its interval."""
    heads = ["target", "other", "attribute", "words", "classes", "difference", "verdict"]
    heads += [f"{mean}{end}" for mean in _MEANS for end in ("", " low", " high")]
    heads += ["photos uses", "photos ignores", "photos uncertain", *_SHARES, "background"]
    table = [heads]
    for one in judgements:
        pair = ["all" if label is None else names[label] for label in (one.target, one.other)]
        for found in one.findings:
            shares = [_number(getattr(one, share).mean) for share in _SHARES]
            table.append(
                [
                    *pair,
                    found.name,
                    found.words,
                    found.status,
                    _number(found.difference),
                    found.verdict,
                    *(_number(value) for name in _MEANS for value in _ends(getattr(found, name))),
                    *map(str, found.photos),
                    *shares,
                    one.background,
                ]
            )
    return csv_text(table)


def rows_csv(examined: Sequence[Examined], names: Sequence[str]) -> str:
    """Return one line per photo and attribute or place."""
    columns = [column.name for column in fields(Row) if column.name not in ("target", "other", "places")]
    table = [["target", "other", "places", *columns, "verdict", "correct", "off", "on_listed", "empty"]]
    for one in examined:
        for row in one.rows:
            values = [getattr(row, column) for column in columns]
            shown = [_number(value) if isinstance(value, float) else str(value) for value in values]
            photo = [str(one.correct), _number(one.off), _number(one.on_listed), str(one.empty)]
            table.append([names[row.target], names[row.other], " ".join(row.places), *shown, row.verdict, *photo])
    return csv_text(table)


def photos_of(one: Judgement) -> str:
    """Return on how many photos a judgement is, and where their saliency lies."""
    said = f"{one.photos} photos, {one.correct} correctly classified, {one.empty} with an empty map."
    if not one.off.n:
        return said
    between = "" if math.isnan(one.off.low) else f" [{100 * one.off.low:.0f}, {100 * one.off.high:.0f}]"
    return (
        f"{said} Of the saliency {percent(one.off)}{between} lies off the "
        f"object ({percent(one.off_plain)} of the plain map, {percent(one.off_area)} of the pixels), "
        f"{percent(one.on_listed)} on what is listed."
    )


def _signed(mean: Mean) -> str:
    return mean.text("+.3f")


def _ends(mean: Mean) -> tuple[float, float, float]:
    return mean.mean, mean.low, mean.high


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
