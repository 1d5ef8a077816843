"""Sanity checks in a report: how alike maps are that should not be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finercam.report.explained import model_name
from finercam.report.folder import data_name, folder_kind
from finercam.report.pages import Section
from finercam.report.parts import Facts, Paragraph, Part, Points, Table
from finercam.runs.rows import Rows
from finercam.studies.sanity.checking import ABOUT, cells, headings
from finercam.studies.sanity.classes import ClassSensitivity
from finercam.studies.sanity.randomisation import Randomisation
from finercam.texts import said_of

_STUDIES: dict[str, ClassSensitivity | Randomisation] = {
    ClassSensitivity.name: ClassSensitivity(),
    Randomisation.name: Randomisation(),
}
_ASKED = {
    ClassSensitivity.name: "Does the map depend on the class that is asked about? One that is the same for two classes "
    "says nothing of either.",
    Randomisation.name: "Does the map depend on what the network has learned? Where a layer's weights are made random, "
    "the map should not stay as it was.",
}
_NOTHING = "A map that knows nothing about the network would stay the same, and score 1."


@folder_kind("sanity", studies=list(_STUDIES))
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each check."""
    for folder in folders:
        run = Rows(folder)
        study = _STUDIES[run.described["study"]]
        data, model = data_name(run.described["data"]["name"]), model_name(run.described["model"]["name"])
        yield Section(f"{study.title}: {data}, {model}", list(_parts(run)))


def _parts(run: Rows) -> Iterator[Part]:
    study = _STUDIES[run.described["study"]]
    lines = study.summary(run)
    yield Paragraph(f"{_ASKED[study.name]} {_NOTHING}")
    yield Paragraph(f"{lines[0].images} images; {ABOUT}")
    yield Table([headings(study.of), *(cells(line) for line in lines)])
    yield Facts({name: str(value) for name, value in run.described["plan"].items()}, "Options")
    failed = [said_of(key, error) for key, error in run.failed]
    yield Points(failed, f"Photos that failed ({len(failed)})")
