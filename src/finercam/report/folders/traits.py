"""What tells classes apart over a folder of photos: each pair, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import short_names
from finercam.errors import FinercamError
from finercam.models import Classifier
from finercam.report.anew import Measured, explained_anew, model_of
from finercam.report.explained import model_name
from finercam.report.folder import data_name, folder_kind
from finercam.report.live import Live
from finercam.report.pages import Section
from finercam.report.parts import Facts, Folded, Heading, Paragraph, Part, Points, Table
from finercam.report.traits.framed import framed
from finercam.report.traits.strips import strips
from finercam.report.traits.told import headline, told
from finercam.runs.rows import Rows
from finercam.studies.traits.findings import Direction, directions
from finercam.studies.traits.rows import Carried, read_carried
from finercam.studies.traits.typical import by_typicality

#: Pairs of many that are not folded away, and those whose photos are opened again.
_OPEN = 3
#: Photos shown at either end.
_ENDS = 3
_ABOUT = (
    "Evidence is where the map for one class over the other is: pixels that raise its logit over the other's. What the two "
    "classes have in common raises both, and is no evidence."
)
_PLACES = (
    "A part's share of the evidence says little by itself, as a large part has more of anything. It is held against the "
    "share of a map that lies evenly over the whole object; numbers in brackets are 95 % intervals over photos, and a dot "
    "is filled where the interval leaves out 0. What the comparison draws to a part is its share less that on the map of "
    "the class alone, without the comparison. Parts may overlap."
)


@dataclass(frozen=True, eq=False)
class _Told:
    """A run as it is told of.

    Attributes:
        run: its rows.
        names: of classes, by index, as they are shown.
        rows: of each direction.
        classifier: the model; ``None`` where it cannot be loaded as it was, and why.
    """

    run: Rows
    names: dict[int, str]
    rows: dict[tuple[int, int], list[Carried]]
    classifier: Classifier | None
    problem: str

    @classmethod
    def of(cls, run: Rows) -> _Told:
        given = run.described["plan"]["class_names"]
        names = dict(zip(map(int, given), short_names(list(given.values())), strict=True))
        rows: dict[tuple[int, int], list[Carried]] = {}
        for one in read_carried(run):
            rows.setdefault((one.target, one.other), []).append(one)
        try:
            return cls(run, names, rows, model_of(run), "")
        except (FinercamError, OSError) as error:
            return cls(run, names, rows, None, f"Photos are not laid over each other, nor explained anew: {error}.")


@folder_kind("traits", studies=["traits"])
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each run."""
    for folder in folders:
        run = Rows(folder)
        data, model = data_name(run.described["data"]["name"]), model_name(run.described["model"]["name"])
        known = _Told.of(run)
        pairs = _pairs(directions(run))
        if len(pairs) == 1:
            (only,) = pairs
            one, other = (known.names[index] for index in (only[0].target, only[0].other))
            yield Section(f"{one} and {other}: {data}, {model}", list(_alone(known, only)))
        else:
            yield Section(f"What tells classes apart: {data}, {model}", list(_many(known, pairs)))


def _pairs(found: Sequence[Direction]) -> list[list[Direction]]:
    """Return the directions of each pair of classes, the pair with most photos first."""
    pairs: dict[frozenset[int], list[Direction]] = {}
    for one in found:
        pairs.setdefault(frozenset((one.target, one.other)), []).append(one)
    return sorted(pairs.values(), key=lambda pair: -sum(one.photos for one in pair))


def _alone(known: _Told, pair: Sequence[Direction]) -> Iterator[Part]:
    yield Paragraph(_setting(known.run))
    yield from _pair(known, pair, pictures=True)
    yield from _end(known)


def _many(known: _Told, pairs: Sequence[Sequence[Direction]]) -> Iterator[Part]:
    yield Paragraph(_setting(known.run))
    every = [one for pair in pairs for one in pair]
    heading = ["class", "against", "photos", "part with most beyond its area", "share", "its area", ""]
    lines = [
        [known.names[one.target], known.names[one.other], str(one.photos), *headline(one)]
        for one in sorted(every, key=lambda one: known.names[one.target])
    ]
    yield Table([heading, *lines], "What tells each class from another")
    for number, pair in enumerate(pairs):
        shown = list(_pair(known, pair, pictures=number < _OPEN))
        if number < _OPEN:
            yield from shown
        else:
            yield Folded(" and ".join(known.names[index] for index in (pair[0].target, pair[0].other)), shown)
    yield from _end(known)


def _setting(run: Rows) -> str:
    plan = run.described["plan"]
    whose = (
        "of the class that the data set says it is of"
        if plan["labels"] == "label"
        else "of the class that the model takes it for"
    )
    said = (
        f"Each photo, {whose}, is asked why that class and not the other ({plan['method']}, gamma {plan['gamma']:g})."
    )
    return " ".join([said, _ABOUT, *([_PLACES] if plan["places"] else [])])


def _pair(known: _Told, pair: Sequence[Direction], pictures: bool) -> Iterator[Part]:
    shown: list[Carried] = []
    for one in pair:
        target, other = known.names[one.target], known.names[one.other]
        rows = known.rows[one.target, one.other]
        yield Heading(f"What tells {target} from {other}")
        yield from told(one, target, other)
        if pictures:
            yield from framed(known.run, known.classifier, rows)
            yield from strips(known.run, rows, f"{target} from {other}")
            shown += yield from _typical(rows, target)
    if shown and known.classifier is not None:
        yield from _live(known.run, shown)


def _typical(rows: Sequence[Carried], target: str) -> Iterator[Part]:
    """Yield a table of the most and the least typical photos; return those photos."""
    order = by_typicality(rows)
    ends = min(_ENDS, len(order) // 2)
    chosen = [*order[:ends], *order[len(order) - ends :]]
    if chosen:
        yield Heading(f"The most and the least typical photos of {target}")
        yield Paragraph(
            "By the cosine between what the model shows where a photo's evidence lies and the mean of the same over the "
            "other photos. Both ends are shown; the least typical ones are where to look for another plumage or pose, a "
            "wrong label, or a reason that has nothing to do with the animal."
        )
        yield Table(
            [
                ["photo", "cosine", "probability", "lead of its logit", "correct"],
                *(
                    [one.key, f"{cosine:.2f}", f"{100 * one.confidence:.1f} %", f"{one.margin:+.2f}", _yes(one.correct)]
                    for one, cosine in chosen
                ),
            ]
        )
    return [one for one, _ in chosen]


def _yes(known: bool) -> str:
    return "yes" if known else "no"


def _live(run: Rows, shown: Sequence[Carried]) -> Iterator[Part]:
    plan = run.described["plan"]
    asked = [
        Measured(
            one.key, one.target, one.confidence, plan["method"], Contrast(gamma=plan["gamma"], against=[one.other])
        )
        for one in shown
    ]
    found, problems = explained_anew(run, asked)
    yield Points(problems)
    if found:
        yield Heading("These photos, to be asked again")
        yield Live.of([[one] for one in found], "The most and the least typical photos")


def _end(known: _Told) -> Iterator[Part]:
    described = known.run.described
    yield Paragraph(known.problem)
    shown = {"finercam": str(described.get("finercam", "")), "data": described["data"]["name"]}
    shown |= {f"model: {name}": _text(value) for name, value in described["model"].items()}
    shown |= {name: _text(value) for name, value in described["plan"].items() if name != "class_names"}
    yield Facts(shown, "Model, data, options and versions")
    failed = [f"{key}: {error}" for key, error in known.run.failed]
    yield Points(failed, f"Photos that failed ({len(failed)})" if failed else "")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
