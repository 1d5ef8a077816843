"""The page that sets each figure and table beside what the paper says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from finercam.report.explained import model_name
from finercam.report.figure import FIGURES
from finercam.report.folder import data_name
from finercam.report.measured import meanings
from finercam.report.pages import Section, write_report
from finercam.report.panels import Panel
from finercam.report.paper.says import SAYS, TABLES
from finercam.report.paper.steps import Paper, blocks
from finercam.report.parts import Facts, Heading, Paragraph, Part, Table, Wide
from finercam.report.runs import titled
from finercam.studies.evaluate.tables import Block
from finercam.studies.evaluate.writing import differences_table, means_table

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
    sections = [_section(paper, name, there, left_out) for name in _ORDER]
    main = there.get("main")
    measured = "" if main is None else f"{main.measured} photos were measured"
    failed = "" if main is None or not main.failed else f", {len(main.failed)} failed"
    lead = (
        f"The figures and tables of arXiv 2501.11309 for {data_name(paper.dataset.name)} and {model_name(paper.spec)}, "
        f"each beside what the paper says. {measured}{failed}. Intervals are 95 % intervals over photos; photos that "
        "are shown were drawn by lot, but those of Figures 6a, 9a and 10. Each figure is in figures/ as PDF with its "
        "caption, each table in tables/ as Markdown, CSV and LaTeX."
    )
    return write_report(paper.out / "index.html", "The paper's figures and tables", lead, sections)


def _section(paper: Paper, name: str, there: Mapping[str, Block], left_out: Mapping[str, str]) -> Section:
    """Return what the paper says, and what there is here."""
    heading, _, said = SAYS[name].partition(": ")
    reason = left_out.get(name) or left_out.get(f"{name}-run") or left_out.get(_RUNS.get(name, ""))
    parts: list[Part] = [Heading("The paper"), Paragraph(said[0].upper() + said[1:])]
    if name in TABLES:
        parts.append(Table(TABLES[name]))
    parts.append(Heading("Here"))
    if reason:
        parts.append(Paragraph(f"Left out: {reason}."))
    elif name in FIGURES:
        parts.append(Wide(_panel(paper, name)))
    elif name == "table-3":
        parts.append(Table(_accuracy(titled(there["main"]))))
    else:
        block = there[_RUNS[name]]
        parts += [Table(means_table(block)), Paragraph("What the contrast changes, photo by photo:")]
        parts += [Table(differences_table(block)), Facts(meanings(block), "What the columns are")]
    return Section(f"{heading}: {FIGURES[name].title}" if name in FIGURES and name != "forest" else heading, parts)


def _panel(paper: Paper, name: str) -> Panel:
    folder = paper.out / "figures"
    with Image.open(folder / f"{name}.png") as opened:
        caption = (folder / f"{name}.txt").read_text(encoding="utf-8").strip()
        return Panel(opened.convert("RGB"), FIGURES[name].title, [caption])


def _accuracy(block: Block) -> list[list[str]]:
    percent = [f"{100 * value:.1f}" for value in (block.accuracy.mean, block.accuracy.low, block.accuracy.high)]
    between = f"{percent[0]} [{percent[1]}, {percent[2]}]"
    return [["model", "data", "accuracy", "n"], [block.model, block.data, between, str(block.accuracy.n)]]
