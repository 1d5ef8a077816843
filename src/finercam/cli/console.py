"""What commands say, on a terminal and into a pipe.

A line is one line: a file name in it can be copied, and ``grep`` finds it. Rich breaks what it prints at the width of
the terminal, and at 80 columns where there is none; here text is left to the terminal to wrap, and a table is only
fitted to a width where there is a terminal that has one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from finercam.texts import Cell, printable

if TYPE_CHECKING:
    from finercam.runs.engine import Progress as Come

#: Wider than any table.
_UNBROKEN = 100_000
#: Seconds between the lines that stand for a bar where there is no terminal.
_EVERY = 30.0


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error; where that is not a terminal nothing is wrapped."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_UNBROKEN)


def say(line: str, *, stderr: bool = True, style: str | None = None, to: Console | None = None) -> None:
    """Print one line, as it is: no markup, no highlighting and no line break in it; control characters as escapes.

    Args:
        line: what to say.
        stderr: where to; results go to standard output, everything else to standard error.
        style: rich's, where there are colours.
        to: the console of a progress bar that is on the screen.
    """
    (to or console(stderr=stderr)).print(printable(line), style=style, markup=False, highlight=False, soft_wrap=True)


class PlainTable(Table):
    """A table of names and numbers as they are: no markup in cells, control characters as escapes."""

    def add_column(self, header: RenderableType = "", *rest: Any, **options: Any) -> None:
        """Add a column."""
        super().add_column(_plain(header), *rest, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row."""
        super().add_row(*map(_plain, cells), **options)


def _plain(cell: Any) -> Any:
    return Text(printable(cell)) if isinstance(cell, str) else cell


def new_table(*headings: str) -> Table:
    """Return a table without a frame, whose cells are never cut off."""
    table = PlainTable(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def show(table: Table) -> None:
    """Print a table to standard output; into a pipe every row is one line."""
    console().print(table, soft_wrap=not sys.stdout.isatty())


def show_told(heading: str, parts: Iterable[str | Sequence[Sequence[str | Cell]]]) -> None:
    """Print sentences and tables on a terminal, whose width a table does not leave: its columns are shown in turns.

    Args:
        heading: over all of it.
        parts: sentences, and tables with their headings first; the first column stands in each turn.
    """
    to = console()
    say(heading, stderr=False, style="bold", to=to)
    for part in parts:
        to.print()
        if isinstance(part, str):
            say(part, stderr=False, to=to)
            continue
        rows = [[_text(cell) for cell in row] for row in part]
        widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
        for number, columns in enumerate(_in_turns(widths, to.width)):
            if number:
                to.print()
            table = PlainTable(box=None, pad_edge=False)
            for column in columns:
                table.add_column(rows[0][column], overflow="fold")
            for row in rows[1:]:
                table.add_row(*(row[column] for column in columns))
            to.print(table)


def _in_turns(widths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield the columns that fit side by side, the first one always among them; two spaces are between columns."""
    turn = [0]
    for column in range(1, len(widths)):
        if len(turn) > 1 and sum(widths[c] + 2 for c in (*turn, column)) - 2 > most:
            yield turn
            turn = [0]
        turn.append(column)
    yield turn


def _text(cell: str | Cell) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell))
    return Text.assemble((printable(cell.text), "bold" if cell.strong else ""), printable(cell.rest))


class Told(Progress):
    """A bar on a terminal; elsewhere a line every half minute, for logs and for those who wait."""

    def __init__(self, *columns: str | ProgressColumn, to: Console) -> None:
        # Only a terminal's lines are taken over to stand above the bar: piped ones must reach the pipe.
        super().__init__(
            *columns,
            console=to,
            transient=True,
            disable=not to.is_terminal,
            redirect_stdout=sys.stdout.isatty(),
            # By the last 1000 steps, however long each takes.
            speed_estimate_period=math.inf,
        )
        self._told = self.get_time()
        #: By task, when it began and how much was done by then.
        self._began: dict[TaskID, tuple[float, float]] = {}

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, as rich's own does."""
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1.0) -> None:
        """Move a task on, as rich's own does."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], self.get_time()
        began, before = self._began.setdefault(task_id, (now, task.completed))
        if not self.disable or task.finished or now - self._told < _EVERY:
            return
        self._told = now
        of = left = ""
        if task.total is not None:
            of = f" of {task.total:.0f}"
            if task.completed > before:
                seconds = (now - began) / (task.completed - before) * (task.total - task.completed)
                left = f", about {_duration(seconds)} left"
        say(f"{task.description}: {task.completed:.0f}{of}{left}", to=self.console)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def progress(*columns: str | ProgressColumn) -> Progress:
    """Return a bar on standard error; where that is not a terminal, a line of it every half minute.

    Args:
        columns: rich's, between the description and the bar's own.
    """
    return Told(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(),
        to=console(stderr=True),
    )


@contextmanager
def followed(what: str) -> Iterator[Callable[[Come], None]]:
    """Give a function that moves a bar to where a run has come."""
    with progress() as bar:
        task = bar.add_task(what, total=None)
        yield lambda come: bar.update(task, total=come.photos, completed=come.done)
