"""What tells classes apart over a folder of photos: each pair, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import short_names
from finercam.errors import FinercamError
from finercam.metrics.intervals import FEWEST_TO_JUDGE
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
from finercam.studies.traits.writing import ABOUT, pairs_of, sentence
from finercam.texts import Cell

#: Of many pairs, how many are shown with photos, and how many more with their numbers, folded away.
_OPEN, _FOLDED = 3, 30
#: Photos shown at either end.
_ENDS = 3


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
        pairs = pairs_of(directions(run))
        if len(pairs) == 1:
            (only,) = pairs
            one, other = (known.names[index] for index in (only[0].target, only[0].other))
            yield Section(f"{one} and {other}: {data}, {model}", list(_alone(known, only)))
        else:
            yield Section(f"What tells classes apart: {data}, {model}", list(_many(known, pairs)))


def _alone(known: _Told, pair: Sequence[Direction]) -> Iterator[Part]:
    yield Paragraph(sentence(pair, known.names))
    yield from _reading(known.run, pair)
    yield from _pair(known, pair, pictures=True)
    yield from _end(known)


def _many(known: _Told, pairs: Sequence[Sequence[Direction]]) -> Iterator[Part]:
    every = [one for pair in pairs for one in pair]
    yield from _reading(known.run, every)
    yield Heading("Each class and the one it is compared with")
    enough = [one for one in every if one.photos >= FEWEST_TO_JUDGE]
    few = [one for one in every if one.photos < FEWEST_TO_JUDGE]
    if enough:
        yield Table(_listed(known, enough))
    if few:
        yield Table(_listed(known, few), summary=f"Over fewer than {FEWEST_TO_JUDGE} photos, which decides nothing")
    for number, pair in enumerate(pairs[: _OPEN + _FOLDED]):
        title = " and ".join(known.names[index] for index in (pair[0].target, pair[0].other))
        shown = [Paragraph(sentence(pair, known.names)), *_pair(known, pair, pictures=number < _OPEN)]
        yield from shown if number < _OPEN else [Folded(title, shown)]
    if len(pairs) > _OPEN + _FOLDED:
        yield Paragraph(f"{len(pairs) - _OPEN - _FOLDED} further pairs, of fewer photos, are in traits.csv.")
    yield from _end(known)


def _listed(known: _Told, every: Sequence[Direction]) -> list[list[str | Cell]]:
    heading: list[str | Cell] = [
        "class",
        "against",
        "photos",
        "part that costs most",
        "painted over, the margin falls by",
        "a patch elsewhere",
        "share of the evidence",
        "it is",
    ]
    return [
        heading,
        *([known.names[one.target], known.names[one.other], str(one.photos), *headline(one)] for one in every),
    ]


def _reading(run: Rows, shown: Sequence[Direction]) -> Iterator[Part]:
    """Yield what was asked, and how the answers are read."""
    plan = run.described["plan"]
    whose = "the data set says" if plan["labels"] == "label" else "the model's first choice says"
    asked = (
        f"Each photo is asked why it is of its class, which {whose}, and not of the other "
        f"({plan['method']}, gamma {plan['gamma']:g})."
    )
    lines = [asked, *(ABOUT if any(one.carriers for one in shown) else ())]
    yield from (Paragraph(line) for line in lines)


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
        yield Heading(f"The most and the least typical photos of {target}", 4)
        yield Paragraph(
            "By the cosine between what the model shows where a photo's evidence lies and the mean of the same over "
            "the other photos. Both ends are shown; the least typical ones are where to look for another plumage or "
            "pose, a wrong label, or evidence that has nothing to do with the animal."
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
