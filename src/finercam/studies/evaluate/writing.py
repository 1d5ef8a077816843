"""Tables as text: Markdown to read, CSV to compute with, LaTeX to publish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from finercam.metrics.intervals import FEWEST_TO_JUDGE, Mean
from finercam.metrics.metric import Column
from finercam.runs.storage import Folder
from finercam.studies.evaluate.maps import CONTROL
from finercam.studies.evaluate.tables import Block, Line, better, read_block
from finercam.texts import Cell, csv_text, encoded, markdown, said_of, tex


def write_tables(runs: Sequence[str], out: str | None, *, only_correct: bool = False) -> list[Block]:
    """Return the tables of runs, and write them to a folder as ``table.md``, ``table.csv`` and ``table.tex``.

    Args:
        runs: their folders.
        out: a folder or a URI, if they are to be written.
        only_correct: count only photos that the model classifies correctly.
    """
    blocks = [read_block(run, only_correct=only_correct) for run in runs]
    if out is not None:
        save_tables(blocks, out)
    return blocks


def save_tables(blocks: Sequence[Block], out: str, name: str = "table") -> None:
    """Write tables to a folder or a URI, as ``NAME.md``, ``NAME.csv`` and ``NAME.tex``."""
    folder = Folder(out)
    for suffix, write in (("md", to_markdown), ("csv", to_csv), ("tex", to_tex)):
        folder.write(f"{name}.{suffix}", encoded(write(blocks)))


def best(block: Block, column: Column) -> Line | None:
    """Return the line that is best in a column; controls, and means over too few photos, are not in the running."""
    if not column.better:
        return None
    sign = 1 if column.better == "higher" else -1
    running = [line for line in block.lines if not line.control and line.means[column.spec].judged]
    return max(running, key=lambda line: sign * line.means[column.spec].mean, default=None)


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the tables as Markdown: means with intervals, then what each contrast changes."""
    return "\n".join(line for block in blocks for line in _markdown_block(block)) + "\n"


def about(block: Block) -> list[str]:
    """Return what is to be said of a table of means: over which photos, what the controls are, what is left out."""
    accuracy = f"{100 * block.accuracy.mean:.1f} % correctly classified" if block.accuracy.n else "no labels"
    failed = f", {len(block.failed)} failed" if block.failed else ""
    first = (
        f"{_photos(block)}{failed}; {accuracy}. Means over n photos with 95 % intervals; the best of "
        f"the methods in bold where n is at least {FEWEST_TO_JUDGE}. Controls: random, blurred random and centre know "
        "nothing of the network; cubed is the base map to the third power; noisy the base map with noise of a tenth "
        "of its peak; random class and reversed the same method asked about a class chosen at random, and the other "
        "way round."
    )
    return [first, *_about_known(block)]


def means_table(block: Block) -> list[list[str | Cell]]:
    """Return the table of means, its heading first: the map, how many photos, a mean with its interval per column."""
    empties = any(line.empty for line in block.lines)
    headings = ["map", "n", *(column.heading for column in block.columns), *(["empty"] if empties else [])]
    winners = {column.spec: best(block, column) for column in block.columns}
    table: list[list[str | Cell]] = [[*headings]]
    for line in block.lines:
        cells = [_cell(line.means[c.spec], line.images, strong=winners[c.spec] is line) for c in block.columns]
        empty = [f"{100 * line.empty:.1f} %"] if empties else []
        table.append([line.title, str(line.images), *cells, *empty])
    return table


#: What is to be said of ``differences_table``.
ABOUT_DIFFERENCES = (
    "What the contrast changes, photo by photo (in bold where the interval leaves out 0; † marks a gain that "
    "is not beyond all of the method's own controls):"
)


def differences_table(block: Block) -> list[list[str | Cell]]:
    """Return the table of paired differences to the base, its heading first; empty where nothing is compared."""
    compared = [line for line in block.lines if line.differences]
    table: list[list[str | Cell]] = [["map", "n", *(column.heading for column in block.columns)]] if compared else []
    for line in compared:
        cells = [_difference(line.differences[c.spec], line.images, _mark(line, c)) for c in block.columns]
        table.append([f"{line.called} {line.title}", str(line.images), *cells])
    return table


def told(block: Block) -> Iterator[str | list[list[str | Cell]]]:
    """Yield what is told of a run: sentences, and tables with their headings first."""
    yield from about(block)
    yield means_table(block)
    if differences := differences_table(block):
        yield ABOUT_DIFFERENCES
        yield differences


def _markdown_block(block: Block) -> Iterator[str]:
    yield f"## {markdown(block.data)}, {markdown(block.model)}"
    for part in told(block):
        yield ""
        yield from [part] if isinstance(part, str) else _markdown_table(part)
    yield ""
    for key, error in block.failed[:20]:
        yield f"- failed: {markdown(said_of(key, error))}"
    if len(block.failed) > 20:
        yield f"- and {len(block.failed) - 20} more"
    if block.failed:
        yield ""


def _about_known(block: Block) -> Iterator[str]:
    """Yield what is to be said of photos that are compared with a class of which the difference is known."""
    alike, without = block.alike
    if alike or without:
        parts = [
            *([f"{alike} that the model does not tell from class d"] if alike else []),
            *([f"{without} without a class of which the difference is known"] if without else []),
        ]
        yield f"Not explained: {', and '.join(parts)}."
    if block.repainted is not None:
        fall, sides = block.repainted
        yield (
            f"Painting what differs as class d's lowers the margin over d by {fall} and changes the side of "
            f"{100 * sides.mean:.1f} % of {sides.n} photos."
        )


def _mark(line: Line, column: Column) -> str:
    """Return a mark where a difference is a gain in itself, but not beyond what controls gain."""
    return " †" if better(line.differences[column.spec], column) and column.spec not in line.beyond else ""


def _photos(block: Block) -> str:
    there = f"{block.photos} photos"
    return there if block.measured == block.photos else f"{block.measured} of {there} so far"


def _markdown_table(table: Sequence[Sequence[str | Cell]]) -> Iterator[str]:
    heading, *rows = table
    yield _markdown_row(heading)
    yield "|" + "---|" * len(heading)
    for row in rows:
        yield _markdown_row(row)


def _markdown_row(cells: Sequence[str | Cell]) -> str:
    return "| " + " | ".join(map(_markdown_cell, cells)) + " |"


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return markdown(cell)
    # Numbers, whose brackets are those of an interval.
    return (f"**{cell.text}**" if cell.strong else cell.text) + cell.rest


def _cell(mean: Mean, images: int, strong: bool) -> Cell:
    number, space, between = mean.text().partition(" ")
    return Cell(number, f"{space}{between}{_counted(mean, images)}", strong)


def _difference(mean: Mean, images: int, mark: str) -> Cell:
    return Cell(mean.text("+.4f"), _counted(mean, images) + mark, mean.leaves_out_zero)


def _counted(mean: Mean, images: int) -> str:
    """Return over how many photos a mean is, where that is not the line's own number."""
    return f" (n = {mean.n})" if 0 < mean.n != images else ""


def to_csv(blocks: Sequence[Block]) -> str:
    """Return every number of the tables, a line for each map and metric."""
    rows: list[Sequence[object]] = [
        [
            "model",
            "data",
            "method",
            "contrast",
            "metric",
            "n",
            "mean",
            "low",
            "high",
            "difference",
            "difference low",
            "difference high",
            "pairs",
            "beyond controls",
            "empty",
        ]
    ]
    for block in blocks:
        for line in block.lines:
            for column in block.columns:
                mean, paired = line.means[column.spec], line.differences.get(column.spec)
                rows.append(
                    [
                        block.model,
                        block.data,
                        line.method,
                        line.contrast,
                        column.spec,
                        mean.n,
                        *_exactly(mean),
                        *(_exactly(paired) if paired else ("", "", "")),
                        paired.n if paired else "",
                        str(column.spec in line.beyond).lower() if paired else "",
                        f"{line.empty:.6g}",
                    ]
                )
    return csv_text(rows)


def _exactly(mean: Mean) -> tuple[str, str, str]:
    if not mean.n:
        return ("", "", "")
    low, high = ("" if math.isnan(end) else f"{end:.6g}" for end in (mean.low, mean.high))
    return (f"{mean.mean:.6g}", low, high)


def to_tex(blocks: Sequence[Block]) -> str:
    """Return the tables in LaTeX, laid out as in the paper: a base, its finer version under it, the best in bold.

    Means have their intervals, and a second table has the paired differences. Needs the package ``booktabs``, which the
    first line says.
    """
    lines = (line for block in blocks for line in (*_tex_block(block), *_tex_differences(block)))
    return "\n".join(["% Needs \\usepackage{booktabs} in the preamble.", *lines]) + "\n"


def _tex_block(block: Block) -> Iterator[str]:
    caption = (
        f"means over {block.measured} photos with 95\\,\\% intervals; the best of the methods in bold where there are "
        f"at least {FEWEST_TO_JUDGE}"
    )
    winners = {column.spec: best(block, column) for column in block.columns}
    rows: list[list[str]] = []
    for line in block.lines:
        if line.contrast == CONTROL and rows and all(rows):
            # An empty row is a rule.
            rows.append([])
        cells = [_tex_number(line.means[c.spec], ".3f", bold=winners[c.spec] is line) for c in block.columns]
        rows.append([tex(line.title), *cells])
    yield from _tex_table(block, caption, rows)


def _tex_differences(block: Block) -> Iterator[str]:
    compared = [line for line in block.lines if line.differences]
    if compared:
        caption = (
            "what the contrast changes: mean paired differences to the base, in bold where the interval leaves out 0"
        )
        rows = [
            [
                tex(f"{line.called} {line.title}"),
                *(
                    _tex_number(line.differences[c.spec], "+.4f", bold=line.differences[c.spec].leaves_out_zero)
                    + ("$^\\dagger$" if _mark(line, c) else "")
                    for c in block.columns
                ),
            ]
            for line in compared
        ]
        yield from _tex_table(block, f"{caption} ($\\dagger$: not beyond the method's own controls)", rows)


def _tex_table(block: Block, caption: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    arrows = {"higher": " $\\uparrow$", "lower": " $\\downarrow$", "": ""}
    yield "\\begin{table}"
    yield "\\centering"
    yield f"\\caption{{{tex(block.data)}, {tex(block.model)}: {caption}.}}"
    yield f"\\begin{{tabular}}{{l{'c' * len(block.columns)}}}"
    yield "\\toprule"
    yield " & ".join(["Method", *(tex(c.title) + arrows[c.better] for c in block.columns)]) + " \\\\"
    yield "\\midrule"
    for row in rows:
        yield " & ".join(row) + " \\\\" if row else "\\midrule"
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


def _tex_number(mean: Mean, form: str, bold: bool) -> str:
    if not mean.n:
        return "--"
    number, space, between = mean.text(form).partition(" ")
    # A minus, not a hyphen.
    number, between = number.replace("-", "$-$"), between.replace("-", "$-$")
    shown = f"\\textbf{{{number}}}" if bold else number
    return f"{shown}{space}{{\\scriptsize {between}}}" if between else shown
