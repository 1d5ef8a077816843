"""What tells classes apart as text and tables: sentences, ``traits.csv`` and ``photos.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from finercam.contrast.labels import short_names
from finercam.files import whole
from finercam.metrics.intervals import FEWEST_TO_JUDGE, Mean
from finercam.runs.rows import Rows
from finercam.studies.traits.findings import ANY, Carrier, Direction, strongest
from finercam.texts import csv_text, encoded

#: What a table has of a place, each with the ends of its interval.
_MEANS = ("fall", "elsewhere", "caused", "share", "even", "beyond", "drawn")
#: Columns of ``photos.csv``, as those of ``Carried``.
_OF_PHOTO = ("correct", "confidence", "margin", "empty", "off", "off_even")
_OF_PLACE = ("falls", "elsewhere", "shares", "plain", "even")

#: What a class was compared with, where it was with several.
LOOK_ALIKES = "its look-alikes"

#: What the numbers are, for pages and commands.
ABOUT = (
    "The margin is by how much the logit of a photo's class leads the other class's. Each part is painted over with "
    "what surrounds it: by as much as the margin then falls, the classifier was using that part. Painting over "
    "anything has an effect, so a patch of the same shape elsewhere on the object is painted over as well.",
    "Evidence is the map of the class against the other one. A part's share of it stands beside the share that a map "
    "lying evenly over the object would have there: what the part's area alone would give.",
)


def title_of(direction: Direction, names: Mapping[int, str]) -> str:
    """Return whose photos these are: ``Red-winged Blackbird, not Brewer's Blackbird``."""
    target, other = short_names([names[direction.target], names[direction.other]])
    return f"{target}, not {other}"


def sentence(both: Sequence[Direction], names: Mapping[int, str]) -> str:
    """Return by what two classes are told apart, in a sentence that claims no more than the photos show.

    Args:
        both: the one class against the other, and the other way round where there are photos of both.
        names: of the model's classes.
    """
    first = both[0]
    target, other = short_names([names[first.target], {**names, ANY: LOOK_ALIKES}[first.other]])
    photos = sum(one.photos for one in both)
    if max(one.photos for one in both) < FEWEST_TO_JUDGE:
        return (
            f"{target} and {other}: {photos} {'photo is' if photos == 1 else 'photos are'} too few to say what tells "
            f"them apart; {FEWEST_TO_JUDGE} of one of them are needed."
        )
    if not any(one.carriers for one in both):
        return f"{target} and {other}: no part is known on these photos; see the patches with the most evidence."
    found = strongest(both)
    if not found:
        return (
            f"{target} and {other}: painting over no part costs more of the difference than painting over a patch "
            "elsewhere on the object."
        )
    return f"{target} and {other} are told apart by " + " and by ".join(_told(*one, names) for one in found) + "."


def _told(direction: Direction, carrier: Carrier, names: Mapping[int, str]) -> str:
    (target,) = short_names([names[direction.target]])
    fall = f"painted over, the margin of {direction.margin.mean:.1f} falls by {carrier.fall.text('.1f')}"
    share = f"; {100 * carrier.share.mean:.0f} % of the evidence is there, {100 * carrier.even.mean:.0f} % by area"
    elsewhere = round(carrier.elsewhere.mean, 1) + 0.0  # not -0.0
    return (
        f"the {spoken(carrier.place)} of {target} ({fall}, with a patch elsewhere by {elsewhere:.1f}"
        f"{share if carrier.share.n else ''})"
    )


def spoken(place: str) -> str:
    """Return a place's name as it is spoken: ``wing bar``."""
    return place.replace("_", " ")


def pairs_of(directions: Sequence[Direction]) -> list[list[Direction]]:
    """Return directions by pair of classes, both ways together, in the order of the first of each."""
    pairs: dict[frozenset[int], list[Direction]] = {}
    for one in directions:
        pairs.setdefault(frozenset((one.target, one.other)), []).append(one)
    return list(pairs.values())


def sentences(pairs: Sequence[Sequence[Direction]], names: Mapping[int, str]) -> list[str]:
    """Return a sentence for each pair of classes with enough photos of one of them, and how many others there are.

    Where there is one pair only, it is told of however few its photos are.
    """
    enough = [both for both in pairs if len(pairs) == 1 or max(one.photos for one in both) >= FEWEST_TO_JUDGE]
    told = [sentence(both, names) for both in enough]
    if len(enough) < len(pairs):
        few = len(pairs) - len(enough)
        told.append(f"{few} more with fewer than {FEWEST_TO_JUDGE} photos {'is' if few == 1 else 'are'} in traits.csv")
    return told


def write(folder: Path, rows: Rows, directions: Sequence[Direction], names: Mapping[int, str]) -> None:
    """Write ``traits.csv``, a line for each class, other class and place, and ``photos.csv``, one for each photo."""
    for name, content in (
        ("traits.csv", traits_csv(directions, names)),
        ("photos.csv", photos_csv(rows, names)),
    ):
        with whole(folder / name) as aside:
            aside.write_bytes(encoded(content))


def traits_csv(directions: Sequence[Direction], names: Mapping[int, str]) -> str:
    """Return a line for each place of each class against each other one; one without a place where none is known."""
    ends = [f"{name}{end}" for name in _MEANS for end in ("", "_low", "_high")]
    lines: list[list[object]] = [["class", "against", "photos", "correct", "empty", "margin", "place", "n", *ends]]
    for one in directions:
        other = {**names, ANY: LOOK_ALIKES}[one.other]
        about = [names[one.target], other, one.photos, one.correct, one.empty, one.margin.mean]
        lines += [[*about, *_cells(carrier)] for carrier in one.carriers] or [[*about, "", 0, *[""] * len(ends)]]
    return csv_text(lines)


def _cells(carrier: Carrier) -> list[object]:
    means: list[Mean] = [getattr(carrier, name) for name in _MEANS]
    return [carrier.place, carrier.fall.n, *(value for one in means for value in (one.mean, one.low, one.high))]


def photos_csv(rows: Rows, names: Mapping[int, str]) -> str:
    """Return a line for each photo, with the numbers of each place."""
    table = rows.table(["id", "key", "target", "other", *_OF_PHOTO, "places", *_OF_PLACE]).sort_by("id").to_pylist()
    places = list(dict.fromkeys(place for row in table for place in row["places"]))
    heads = [f"{name} of {place}" for place in places for name in _OF_PLACE]
    lines: list[list[object]] = [["photo", "class", "against", *_OF_PHOTO, *heads]]
    for row in table:
        own = {place: [row[name][at] for name in _OF_PLACE] for at, place in enumerate(row["places"])}
        numbers = [number for place in places for number in own.get(place, [""] * len(_OF_PLACE))]
        lines.append(
            [row["key"], names[row["target"]], names[row["other"]], *(row[name] for name in _OF_PHOTO), *numbers]
        )
    return csv_text(lines)
