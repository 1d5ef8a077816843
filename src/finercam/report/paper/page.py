"""The page that sets each figure and table beside what the paper says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from finercam.report.explained import model_name
from finercam.report.figure import FIGURES
from finercam.report.pages import Section, write_report
from finercam.report.panels import Panel
from finercam.report.paper.says import SAYS, TABLES
from finercam.report.paper.steps import Paper, blocks
from finercam.studies.evaluate.tables import Block

#: The order of the page: that of the paper.
_ORDER = (
    "similarity", "concept", "comparison", "table-1", "deletion-curves", "forest", "consistency", "strength",
    "each-reference", "table-2", "sweep", "faithfulness", "subtraction", "table-3", "table-7", "failures",
)  # fmt: skip
#: Which run a table is made of.
_RUNS = {"table-1": "main", "table-2": "references", "table-7": "aggregation"}


def write_page(paper: Paper, left_out: Mapping[str, str]) -> Path:
    """Write ``index.html``.

    Args:
        paper: what of.
        left_out: why figures and tables are not there, by name.
    """
    there = blocks(paper)
    sections = [section for name in _ORDER for section in _sections(paper, name, there, left_out)]
    main = there.get("main")
    measured = "" if main is None else f"{main.measured} photos were measured"
    failed = "" if main is None or not main.failed else f", {len(main.failed)} failed"
    lead = (
        f"The figures and tables of arXiv 2501.11309 for {paper.dataset.name} and {model_name(paper.spec)}, each "
        f"beside what the paper says. {measured}{failed}. Intervals are 95 % intervals over photos; each figure is in "
        "figures/ as PDF with its caption, each table in tables/ as Markdown, CSV and LaTeX."
    )
    return write_report(paper.out / "index.html", "The paper's figures and tables", lead, sections)


def _sections(paper: Paper, name: str, there: Mapping[str, Block], left_out: Mapping[str, str]) -> list[Section]:
    """Return what the paper says, and what there is here."""
    heading = SAYS[name].partition(":")[0]
    reason = left_out.get(name) or left_out.get(f"{name}-run") or left_out.get(_RUNS.get(name, ""))
    missing = f" Left out here: {reason}." if reason else ""
    text = f"The paper. {SAYS[name]}{missing}"
    if name in FIGURES:
        picture = paper.out / "figures" / f"{name}.png"
        if missing or not picture.is_file():
            return [Section(f"{heading}: {FIGURES[name].title}", text)]
        caption = (paper.out / "figures" / f"{name}.txt").read_text(encoding="utf-8").strip()
        with Image.open(picture) as opened:
            panel = Panel(opened.convert("RGB"), "Here", [caption])
        return [Section(f"{heading}: {FIGURES[name].title}", text, wide=[panel])]
    own = _accuracy(there) if name == "table-3" else _table(there.get(_RUNS[name]))
    found = [Section(heading, text, table=TABLES[name])]
    return [*found, Section(f"{heading} here", table=own)] if own else found


def _table(block: Block | None) -> Sequence[Sequence[str]]:
    """Return a run's means with their intervals, controls that know nothing at the end."""
    if block is None:
        return ()
    heading = ["map", "n", *(column.heading for column in block.columns)]
    rows = [[str(line.images), *(line.means[column.spec].text() for column in block.columns)] for line in block.lines]
    return [heading, *([line.title, *row] for line, row in zip(block.lines, rows, strict=True))]


def _accuracy(there: Mapping[str, Block]) -> Sequence[Sequence[str]]:
    block = there.get("main")
    if block is None or not block.accuracy.n:
        return ()
    percent = [f"{100 * value:.1f}" for value in (block.accuracy.mean, block.accuracy.low, block.accuracy.high)]
    between = f"{percent[0]} [{percent[1]}, {percent[2]}]"
    return [["model", "data", "accuracy", "n"], [model_name(block.model), block.data, between, str(block.accuracy.n)]]
