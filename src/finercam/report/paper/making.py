"""All steps of the paper, one after another, and the page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from finercam.report.paper.page import write_page
from finercam.report.paper.steps import Advance, LeftOut, Paper, Step, steps_of
from finercam.runs.engine import Progress


def make(paper: Paper, watch: Callable[[Step], AbstractContextManager[Advance]] | None = None) -> dict[str, str]:
    """Do all steps that are not done yet, and write the page.

    The same call goes on where an earlier one was stopped.

    Args:
        paper: what of.
        watch: entered around each step that is to be done; gives what is called as a run goes on.

    Returns:
        Why steps could not be done, by name: what the data or the model does not have.

    Raises:
        FinercamError: an option is unknown, the folder was made of something else, or cannot be written to.
    """
    steps = steps_of(paper)
    paper.claim()
    left_out: dict[str, str] = {}
    for step in steps:
        if step.done():
            continue
        with nullcontext(_quiet) if watch is None else watch(step) as advance:
            try:
                step.do(advance)
            except LeftOut as error:
                left_out[step.name] = str(error)
    write_page(paper, left_out)
    return left_out


def _quiet(progress: Progress) -> None:
    """Say nothing."""
