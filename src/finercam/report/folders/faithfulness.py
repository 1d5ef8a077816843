"""Faithfulness in a report: which attributes a classifier uses, and what it looks at instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finercam.errors import FinercamError
from finercam.report.charts import Effect, forest
from finercam.report.explained import model_name
from finercam.report.folder import data_name, folder_kind
from finercam.report.pages import Section
from finercam.report.parts import Charts, Facts, Heading, Paragraph, Part, Points, Table
from finercam.runs.rows import Rows
from finercam.studies.faithfulness.examined import read_examined
from finercam.studies.faithfulness.rows import ALIKE
from finercam.studies.faithfulness.verdicts import Judgement, judge, judge_pairs
from finercam.studies.faithfulness.writing import about, cells, headings, photos_of, title_of
from finercam.texts import said_of

#: Pairs of classes that are not folded away.
_OPEN = 3


@folder_kind("faithfulness", studies=["faithfulness"])
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each examination."""
    for folder in folders:
        run = Rows(folder)
        data, model = data_name(run.described["data"]["name"]), model_name(run.described["model"]["name"])
        yield Section(f"Faithfulness: what {model} looks at in {data}", list(_parts(run)))


def _parts(run: Rows) -> Iterator[Part]:
    plan, names = run.described["plan"], run.described["classes"]
    examined = read_examined(run)
    if not examined:
        raise FinercamError(f"{run.out!r} holds no photo that could be examined")
    yield Paragraph(
        "For each photo, the map of its class against the most similar one is compared with the attributes in which "
        "the two classes differ most. What a map that knows nothing would have is called chance here: what the same "
        "map has for attributes that both classes share."
    )
    for sentence in about(plan["text model"] is not None):
        yield Paragraph(sentence)
    every, *pairs = [judge(examined), *judge_pairs(examined)]
    yield from _judgement(every, names, folded=False)
    for number, pair in enumerate(pairs):
        yield from _judgement(pair, names, folded=number >= _OPEN)
    yield Facts({name: str(value) for name, value in plan.items()}, "Options")
    failed = [said_of(key, error) for key, error in run.failed]
    yield Points(failed, f"Photos that failed ({len(failed)})")


def _judgement(one: Judgement, names: Sequence[str], folded: bool) -> Iterator[Part]:
    yield Heading(title_of(one, names))
    yield Paragraph(one.sentence())
    yield Paragraph(photos_of(one))
    if not one.findings:
        return
    effects = [Effect(found.words, found.advantage, control=found.status == ALIKE) for found in one.findings]
    if not folded and any(effect.change.n for effect in effects):
        yield Charts([forest("Advantage over chance; squares are what the two classes have alike", effects)])
    yield Table([headings(), *(cells(found) for found in one.findings)], summary="All numbers")
