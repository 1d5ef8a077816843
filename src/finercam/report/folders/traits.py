"""What tells classes apart over a folder of photos: each pair, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import short_names
from finercam.errors import FinercamError
from finercam.metrics.intervals import FEWEST_TO_JUDGE
from finercam.models import Classifier
from finercam.report.anew import Measured, explained_anew, model_of
from finercam.report.explained import model_name
from finercam.report.folder import data_name, folder_kind
from finercam.report.live import Live
from finercam.report.pages import Section, write_report
from finercam.report.parts import Facts, Folded, Heading, Paragraph, Part, Points, Table
from finercam.report.traits.framed import framed
from finercam.report.traits.strips import strips
from finercam.report.traits.told import headline, told
from finercam.runs.rows import Rows
from finercam.studies.traits.findings import Direction, directions
from finercam.studies.traits.rows import Carried, read_carried
from finercam.studies.traits.typical import by_typicality
from finercam.studies.traits.writing import ABOUT, pairs_of, sentence
from finercam.texts import Cell

#: Of many pairs, how many are shown with photos, and how many more with their numbers, folded away.
_OPEN, _FOLDED = 3, 30
#: Photos shown at either end.
_ENDS = 3
#: Of each class against another, photos that pictures, groups of patches and typical photos are made of.
_LOOKED_AT = 600


_INTERVALS = (
    "Numbers in brackets are 95 % intervals: other photos of the same kind would give means within them in about 19 of "
    "20 such studies. Dots are filled where the interval leaves out 0."
)


@dataclass(frozen=True, eq=False)
class _Told:
    """A run as it is told of.

    Attributes:
        run: its rows.
        names: of classes, by index, as they are shown.
        pairs: of classes, each with one or two directions.
        rows: of each direction.
        classifier: the model; ``None`` where it cannot be loaded as it was.
        problem: why.
    """

    run: Rows
    names: dict[int, str]
    pairs: list[list[Direction]]
    rows: dict[tuple[int, int], list[Carried]]
    classifier: Classifier | None
    problem: str = ""

    @classmethod
    def of(cls, run: Rows) -> _Told:
        given = run.described["plan"]["class_names"]
        names = dict(zip(map(int, given), short_names(list(given.values())), strict=True))
        rows: dict[tuple[int, int], list[Carried]] = {}
        for one in read_carried(run, _LOOKED_AT):
            rows.setdefault((one.target, one.other), []).append(one)
        pairs = pairs_of(directions(run))
        if not pairs:
            raise FinercamError(f"{run.out!r} holds no photo that could be compared")
        try:
            return cls(run, names, pairs, rows, model_of(run))
        except (FinercamError, OSError) as error:
            problem = f"Photos are not laid over each other, nor explained anew: {error}."
            return cls(run, names, pairs, rows, None, problem)

    @property
    def title(self) -> str:
        if len(self.pairs) > 1:
            return f"{len(self.pairs)} pairs of classes"
        first = self.pairs[0][0]
        return f"{self.names[first.target]} and {self.names[first.other]}"

    @property
    def photos(self) -> int:
        return sum(one.photos for pair in self.pairs for one in pair)

    @property
    def data(self) -> str:
        return data_name(self.run.described["data"]["name"])

    @property
    def model(self) -> str:
        return model_name(self.run.described["model"]["name"])


@folder_kind("traits", studies=["traits"])
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield the sections of each run: in short, each class against the other one, and their photos."""
    for folder in folders:
        known = _Told.of(Rows(folder))
        yield from _sections(known, f"{known.title}: {known.data}, {known.model}")


def write_page(folder: str, path: Path) -> Path:
    """Write a page on one run alone, whole or not at all, and return its path.

    Raises:
        FinercamError: the folder holds no run of this study, or the page cannot be written.
    """
    known = _Told.of(Rows(folder))
    lead = f"Asked of the model {known.model}, on {known.photos} photos ({known.data})."
    return write_report(path, f"{known.title}: what tells them apart?", lead, list(_sections(known, "In short")))


def _sections(known: _Told, first: str) -> Iterator[Section]:
    every = [one for pair in known.pairs for one in pair]
    alone = len(known.pairs) == 1
    yield Section(
        first, [*(_in_short(known.pairs[0], known) if alone else _table(every, known)), *_reading(every, known)]
    )
    shown: list[Carried] = []
    for pair in known.pairs[:_OPEN]:
        for one in pair:
            own = known.rows[one.target, one.other]
            ends = _ends_of(own)
            shown += [photo for photo, _ in ends]
            fewer = f"What follows is made from {len(own)} of these photos." if len(own) < one.photos else ""
            pictures = [Paragraph(fewer), *_pictures(one, own, known), *_typical(ends)]
            yield Section(_heading(one, known), [*_told(one, known), *pictures])
    folded = known.pairs[_OPEN : _OPEN + _FOLDED]
    if folded:
        yield Section("Further pairs", list(_further(folded, known)))
    live = list(_live(shown, known))
    if live:
        yield Section("The most and the least typical photos, to be asked again", live)
    yield Section("What was measured", list(_made(known)))


def _in_short(pair: Sequence[Direction], known: _Told) -> Iterator[Part]:
    yield Paragraph(sentence(pair, known.names))


def _table(every: Sequence[Direction], known: _Told) -> Iterator[Part]:
    enough = [one for one in every if one.photos >= FEWEST_TO_JUDGE]
    few = [one for one in every if one.photos < FEWEST_TO_JUDGE]
    if enough:
        yield Table(_listed(known, enough), "Each class and the one it is compared with")
    if few:
        said = f"Over fewer than {FEWEST_TO_JUDGE} photos, which decides nothing"
        # What there is nothing else of is not folded away.
        yield Table(_listed(known, few), "" if enough else said, summary=said if enough else "")


def _further(pairs: Sequence[Sequence[Direction]], known: _Told) -> Iterator[Part]:
    for pair in pairs:
        parts: list[Part] = [Paragraph(sentence(pair, known.names))]
        for one in pair:
            parts += [Heading(_heading(one, known)), *_told(one, known)]
        yield Folded(" and ".join(known.names[index] for index in (pair[0].target, pair[0].other)), parts)
    left = len(known.pairs) - _OPEN - len(pairs)
    if left:
        yield Paragraph(f"{left} further pairs, of fewer photos, are in traits.csv.")


def _listed(known: _Told, every: Sequence[Direction]) -> list[list[str | Cell]]:
    heading: list[str | Cell] = [
        "class",
        "against",
        "photos",
        "part that costs most",
        "painted over, the margin falls by",
        "a patch elsewhere",
        "share of the evidence",
        "verdict",
    ]
    return [
        heading,
        *([known.names[one.target], known.names[one.other], str(one.photos), *headline(one)] for one in every),
    ]


def _reading(shown: Sequence[Direction], known: _Told) -> Iterator[Part]:
    """Yield what was asked, and how the answers are read."""
    plan = known.run.described["plan"]
    whose = "the data set's label" if plan["labels"] == "label" else "the model's first choice"
    yield Paragraph(
        f"Each photo is asked why it is of its class ({whose}) and not of the other ({plan['method']}, gamma "
        f"{plan['gamma']:g})."
    )
    if any(one.carriers for one in shown):
        yield from map(Paragraph, ABOUT)
    yield Paragraph(_INTERVALS)


def _heading(one: Direction, known: _Told) -> str:
    return f"What tells {known.names[one.target]} from {known.names[one.other]}"


def _told(one: Direction, known: _Told) -> Iterator[Part]:
    return told(one, known.names[one.target], known.names[one.other])


def _pictures(one: Direction, rows: Sequence[Carried], known: _Told) -> Iterator[Part]:
    yield from framed(known.run, known.classifier, rows)
    yield from strips(known.run, rows, f"{known.names[one.target]} from {known.names[one.other]}")


def _ends_of(rows: Sequence[Carried]) -> list[tuple[Carried, float]]:
    """Return the most and the least typical photos, with how typical they are."""
    order = by_typicality(rows)
    ends = min(_ENDS, len(order) // 2)
    return [*order[:ends], *order[len(order) - ends :]]


def _typical(ends: Sequence[tuple[Carried, float]]) -> Iterator[Part]:
    if not ends:
        return
    yield Heading("The most and the least typical photos")
    yield Paragraph(
        "By the cosine between what the model shows where a photo's evidence lies and the mean of the same over the "
        "other photos. Both ends are shown; the least typical ones are where to look for another plumage or pose, a "
        "wrong label, or evidence that has nothing to do with the animal."
    )
    heading = ["photo", "cosine", "probability", "margin over the other", "correct"]
    yield Table([heading, *(_photo(one, cosine) for one, cosine in ends)])


def _photo(one: Carried, cosine: float) -> list[str]:
    return [
        one.key,
        f"{cosine:.2f}",
        f"{100 * one.confidence:.1f} %",
        f"{one.margin:+.2f}",
        "yes" if one.correct else "no",
    ]


def _live(shown: Sequence[Carried], known: _Told) -> Iterator[Part]:
    if not shown or known.classifier is None:
        return
    plan = known.run.described["plan"]
    asked = [
        Measured(
            one.key, one.target, one.confidence, plan["method"], Contrast(gamma=plan["gamma"], against=[one.other])
        )
        for one in shown
    ]
    found, problems = explained_anew(known.run, asked, known.classifier)
    yield Points(problems)
    if found:
        yield Live.of([[one] for one in found], "The most and the least typical photos")


def _made(known: _Told) -> Iterator[Part]:
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
