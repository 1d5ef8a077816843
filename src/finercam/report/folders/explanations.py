"""Explained photos in a report: what was asked, how sure the model was, and the photos themselves."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from finercam.contrast.labels import short_names
from finercam.data.photos import open_photo
from finercam.errors import FinercamError
from finercam.explanations.explanation import Explanation
from finercam.methods.evidence import NotGathered
from finercam.report.explained import model_name
from finercam.report.folder import folder_kind, on_this_machine
from finercam.report.live import Live
from finercam.report.pages import Section
from finercam.report.panels import Panel, rounded
from finercam.report.parts import Heading, Paragraph, Part, Points, Table, Wide
from finercam.report.view.data import photo_name
from finercam.texts import said_of, shortened

RECORDS = "explanations.jsonl"
#: Photos shown at either end, and how many of them as pictures, where no evidence was kept.
_SHOWN, _PICTURES = 6, 4
#: Of a picture, in pixels: that of the page.
_WIDTH = 1200

Record = Mapping[str, Any]


@folder_kind("explanations", file=RECORDS)
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each folder."""
    for given in folders:
        folder = on_this_machine(given)
        yield Section(f"Explained photos: {folder.resolve().name}", list(_parts(folder)))


def _parts(folder: Path) -> Iterator[Part]:
    records = _read(folder / RECORDS)
    failed = [said_of(one["image"], one["error"]) for one in records if "error" in one]
    photos: dict[str, list[Record]] = {}
    for one in records:
        if "error" not in one:
            photos.setdefault(one["image"], []).append(one)
    empty = sum(any(one["empty"] for one in own) for own in photos.values())
    yield Paragraph(
        f"Explained: {len(photos)}, failed: {len(failed)}, with an empty map: {empty}. An empty map says that nothing "
        "speaks for the class against its look-alikes."
    )
    yield Table(_asked(records))
    if photos:
        order = sorted(photos.values(), key=lambda own: -_margin(own[0]))
        ends = min(_SHOWN, -(-len(order) // 2))
        shown = [*order[:ends], *order[ends:][-ends:]]
        yield Heading("The surest and the least sure photos")
        yield Paragraph(
            "By the margin: by how much the logit of the class that was asked about leads the highest other one. Both "
            "ends are shown, for either alone would mislead."
        )
        yield Table(_listed([own[0] for own in shown]))
        yield from _pictures(folder, shown)
    yield Points(failed, f"Photos that failed ({len(failed)})")


def _read(path: Path) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise FinercamError(f"{path}, line {number}, is not a record of a photo; give a folder that explain wrote")
        found.append(record)
    return found


def _asked(records: Sequence[Record]) -> list[list[str]]:
    """Return what was asked, with how many photos each."""
    asked = Counter(
        (
            model_name(str(one["model"])),
            str(one["method"]),
            "" if one.get("gamma") is None else f"{one['gamma']:g}",
            _text(one.get("against", one.get("objective", ""))),
            "yes" if one.get("reverse") else "",
        )
        for one in records
        if "error" not in one
    )
    heading = ["model", "method", "gamma", "against", "reversed", "photos"]
    return [heading, *([*question, str(photos)] for question, photos in asked.items())]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _margin(record: Record) -> float:
    """Return by how much the target's logit leads the highest other one; NaN would be in no order."""
    target = record["target"]
    others = [one["logit"] for one in record["top"] if one["index"] != target["index"] and one["logit"] is not None]
    return -math.inf if target["logit"] is None or not others else float(target["logit"]) - max(others)


def _listed(records: Sequence[Record]) -> list[list[str]]:
    table = [["photo", "class asked about", "probability", "margin", "against", "peak", "of the plain map's", "map"]]
    for one in records:
        named = short_names([one["target"]["name"], *(reference["name"] for reference in one["references"])])
        share = f"{100 * one['peak'] / one['plain_peak']:.0f} %" if one["plain_peak"] else ""
        table.append(
            [
                shortened(Path(one["image"]).name, 40),
                named[0],
                f"{100 * one['target']['probability']:.1f} %",
                f"{_margin(one):+.2f}",
                ", ".join(named[1:]),
                rounded(one["peak"]),
                share,
                "empty" if one["empty"] else "",
            ]
        )
    return table


def _pictures(folder: Path, photos: Sequence[Sequence[Record]]) -> Iterator[Part]:
    """Yield photos in the live view, where their evidence was kept; else as the pictures that were written."""
    live: list[list[Explanation]] = []
    unkept: list[Record] = []
    problems = []
    for own in photos:
        kept = []
        for record in own:
            try:
                kept.append(Explanation.load(_inside(folder, record["files"]["maps"])))
            except NotGathered:
                # As was asked for: the picture stands for it.
                continue
            except FinercamError as error:
                problems.append(f"{said_of(Path(record['image']).name, error)}.")
        if kept:
            live.append(kept)
        else:
            unkept.append(own[0])
    one_model = [own for own in live if own[0].facts.name == live[0][0].facts.name]
    problems += [f"{photo_name(own[0])}: explained by another model." for own in live if own not in one_model]
    if one_model:
        yield Live.of(one_model, f"The surest and the least sure photos of {folder.resolve().name}")
    still = [
        panel for record in (*unkept[:_PICTURES], *unkept[_PICTURES:][-_PICTURES:]) for panel in _still(folder, record)
    ]
    if still:
        yield Paragraph(
            "These are the pictures that finercam explain wrote, the surest photo first. Explain with --keep to ask "
            "about another strength or look-alike on this page."
        )
        yield from map(Wide, still)
    yield Points(problems, f"What cannot be asked again ({len(problems)})" if problems else "")


def _still(folder: Path, record: Record) -> Iterator[Panel]:
    path = _inside(folder, record["files"]["picture"])
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and path.is_file():
        picture = open_photo(path)
        picture.thumbnail((_WIDTH, _WIDTH), Image.Resampling.LANCZOS)
        yield Panel(picture, shortened(Path(record["image"]).name, 40), [record["question"]])


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a folder.

    Raises:
        FinercamError: it lies elsewhere.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FinercamError(f"{name!r} does not lie in {str(folder)!r}, so it is not read")
    return path
