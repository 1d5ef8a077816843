"""What an examination found: which attributes a classifier uses, which it ignores, and what it looks at instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from finercam.metrics.intervals import Mean, mean_of
from finercam.studies.faithfulness.examined import Examined
from finercam.studies.faithfulness.rows import ALIKE, DIFFERS, IGNORES, LISTED, UNCERTAIN, USES, Row

NEGLIGIBLE = 0.1
"""An advantage that surely lies below this is none: places hold 1.22 times what chance has, or correlations differ by
a tenth."""
DRAWN = 0.05
"""The comparison draws saliency onto a place if the gain surely lies above this: a tenth more than in the plain map."""
STRONG = 0.5
"""An advantage that the place's position does not explain: three times chance, or half a correlation more."""
SLIGHT = 0.1
"""So small a share of saliency off the object is not looking at the background."""
FEWEST = 5
"""Of fewer photos nothing is said."""


@dataclass(frozen=True)
class Finding:
    """An attribute, or a place of the body, over photos.

    Attributes:
        name: of the attribute or place.
        words: for people.
        status: ``listed``, ``differs`` or ``alike``.
        difference: mean, in percentage points.
        alignment, chance, overlap, overlap_chance: see ``Row``.
        advantage: over chance, paired by photo.
        gain: over the map without the comparison, on the same scale.
        found: see ``Row``.
        photos: how many photos say ``uses``, ``ignores``, ``uncertain`` by themselves.
        verdict: over all of them, see ``verdict_on``.
    """

    name: str
    words: str
    status: str
    difference: float
    alignment: Mean
    chance: Mean
    advantage: Mean
    gain: Mean
    overlap: Mean
    overlap_chance: Mean
    found: Mean
    photos: tuple[int, int, int]
    verdict: str


@dataclass(frozen=True)
class Judgement:
    """What was found on photos of one class against another, or on all photos.

    Attributes:
        target, other: labels; ``None`` for all photos.
        photos: how many.
        correct, empty: how many of them were correctly classified, and how many have an empty map.
        off, off_plain, off_area, on_listed: see ``Examined``.
        excess: ``off`` minus ``on_listed``, paired by photo.
        findings: listed ones first.
    """

    target: int | None
    other: int | None
    photos: int
    correct: int
    empty: int
    off: Mean
    off_plain: Mean
    off_area: Mean
    on_listed: Mean
    excess: Mean
    findings: tuple[Finding, ...]

    @property
    def background(self) -> str:
        """Whether it looks at the background: ``yes``, ``no`` or ``uncertain``.

        ``yes`` if surely more saliency lies off the object than on all that is listed, and surely more than
        ``SLIGHT``; ``no`` if surely less than either.
        """
        if self.excess.n < FEWEST:
            return UNCERTAIN
        if self.excess.low > 0 and self.off.low > SLIGHT:
            return "yes"
        return "no" if self.excess.high < 0 or self.off.high < SLIGHT else UNCERTAIN

    def named(self, verdict: str, *status: str) -> list[Finding]:
        """Return the findings of a verdict and of one of some statuses."""
        return [one for one in self.findings if one.verdict == verdict and one.status in (status or (LISTED,))]

    def sentence(self) -> str:
        """Return ``uses: ...; ignores: ...; uncertain: ...; looks elsewhere: ...``."""
        said = [
            f"{verdict}: {', '.join(one.words for one in self.named(verdict)) or 'none'}"
            for verdict in (USES, IGNORES, UNCERTAIN)
            if verdict != UNCERTAIN or self.named(verdict)
        ]
        elsewhere = []
        shares = f"{percent(self.off)} of the saliency off the object, {percent(self.on_listed)} on what differs"
        if self.background == "yes":
            elsewhere.append(f"the background ({shares})")
        elsewhere += [f"{one.words} (differs, not listed)" for one in self.named(USES, DIFFERS)]
        elsewhere += [f"{one.words} (no difference)" for one in self.named(USES, ALIKE)]
        uncertain = self.background == UNCERTAIN and self.off.n
        nothing = f"uncertain ({shares})" if uncertain else f"no ({shares})" if self.off.n else "not known"
        return "; ".join([*said, "looks elsewhere: " + (", ".join(elsewhere) or nothing)])


def judge(examined: Sequence[Examined]) -> Judgement:
    """Return what was found on all photos, by place of the body."""
    rows = [row for one in examined for row in one.rows]
    if any(row.of_place for row in rows):
        rows = [row for row in rows if row.of_place]
    return _judgement(None, None, examined, rows, lambda row: " and ".join(row.places), lambda own: "")


def judge_pairs(examined: Sequence[Examined], fewest: int = FEWEST) -> list[Judgement]:
    """Return what was found on the photos of each class against each other one, most photos first.

    Args:
        examined: photos.
        fewest: pairs of fewer photos are left out.
    """
    pairs: dict[tuple[int, int], list[Examined]] = {}
    for one in examined:
        pairs.setdefault((one.target, one.other), []).append(one)
    found = []
    for (target, other), own in sorted(pairs.items(), key=lambda pair: -len(pair[1])):
        if len(own) < fewest:
            continue
        rows = [row for one in own for row in one.rows]
        attributes = {row.name: row for row in rows if row.status == LISTED and not row.of_place}

        def words_of(of_one: Sequence[Row], attributes: dict[str, Row] = attributes) -> str:
            place = of_one[0]
            if not place.of_place:
                return place.words
            shown = [one.words for one in attributes.values() if place.name in one.places]
            return f"{place.name} ({', '.join(shown)})" if shown else place.name

        if any(row.of_place for row in rows):
            rows = [row for row in rows if row.of_place]
        found.append(_judgement(target, other, own, rows, lambda row: row.name, words_of))
    return found


def verdict_on(status: str, advantage: Mean, gain: Mean, alike: Sequence[Mean], found: Mean | None = None) -> str:
    """Return the verdict on an attribute or place: ``uses``, ``ignores`` or ``uncertain``.

    *Ignores*: the advantage over chance is surely negligible. *Uses*: it is surely above chance, and that is not only
    where the place lies: the middle of a bird holds more than its edge in any map. So, besides, either the comparison
    must surely draw saliency onto it (what tells the class from another is not just what tells it at all); or it must
    surely stand out above everything else in which the classes agree (a classifier that reads nothing else has
    nothing to draw). Of a place in which the classes agree the latter is asked, and by much: a map of few cells runs
    over into the neighbours of what the comparison draws it to.

    *Uncertain* otherwise, and where a text model does not surely find the attribute at its places: then its map says
    nothing of the classifier.

    Args:
        status: ``listed``, ``differs`` or ``alike``.
        advantage, gain: see ``Finding``.
        alike: advantages of what else the classes agree in.
        found: see ``Row``; nothing if it is not known.
    """
    lost = found is not None and found.n > 0 and not found.low > 0
    if advantage.n < FEWEST or lost:
        return UNCERTAIN
    if advantage.high < NEGLIGIBLE:
        return IGNORES
    highest = max((one.high for one in alike if one.n >= FEWEST), default=math.inf)
    stands_out = advantage.low > max(highest, 0.0 if status == LISTED else STRONG)
    drawn = status != ALIKE and gain.low > DRAWN
    return USES if advantage.low > 0 and (drawn or stands_out) else UNCERTAIN


def percent(mean: Mean) -> str:
    """Return a share as text."""
    return f"{100 * mean.mean:.0f} %"


def _judgement(
    target: int | None,
    other: int | None,
    examined: Sequence[Examined],
    rows: Iterable[Row],
    name_of: Callable[[Row], str],
    words_of: Callable[[Sequence[Row]], str],
) -> Judgement:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.status, name_of(row)), []).append(row)
    order = (LISTED, DIFFERS, ALIKE)
    findings = [
        _finding(name, words_of(own) or name, own)
        for (_, name), own in sorted(groups.items(), key=lambda group: order.index(group[0][0]))
    ]
    alike = [one for one in findings if one.status == ALIKE]
    judged = [
        replace(
            one,
            verdict=verdict_on(
                one.status, one.advantage, one.gain, [other.advantage for other in alike if other is not one], one.found
            ),
        )
        for one in findings
    ]
    return Judgement(
        target,
        other,
        len(examined),
        sum(one.correct for one in examined),
        sum(one.empty for one in examined),
        _over(one.off for one in examined),
        _over(one.off_plain for one in examined),
        _over(one.off_area for one in examined),
        _over(one.on_listed for one in examined),
        _over(one.off - one.on_listed for one in examined),
        tuple(judged),
    )


def _finding(name: str, words: str, rows: Sequence[Row]) -> Finding:
    """Intervals are over photos: rows of one photo are averaged first."""
    by_photo: dict[str, list[Row]] = {}
    for row in rows:
        by_photo.setdefault(row.key, []).append(row)

    def mean(column: Callable[[Row], float]) -> Mean:
        return _over(_average(column(row) for row in own) for own in by_photo.values())

    verdicts = [row.verdict for row in rows]
    return Finding(
        name,
        words,
        rows[0].status,
        _average(row.difference for row in rows),
        mean(lambda row: row.alignment),
        mean(lambda row: row.chance),
        mean(lambda row: row.advantage),
        mean(lambda row: row.gain),
        mean(lambda row: row.overlap),
        mean(lambda row: row.overlap_chance),
        mean(lambda row: row.found),
        (verdicts.count(USES), verdicts.count(IGNORES), verdicts.count(UNCERTAIN)),
        UNCERTAIN,
    )


def _average(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _over(values: Iterable[float]) -> Mean:
    return mean_of(torch.tensor(list(values), dtype=torch.float64))
