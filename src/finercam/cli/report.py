"""``finercam report``: one page on what other commands have written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finercam.cli.console import say
from finercam.errors import FinercamError


def report(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="The --out folders of compare, evaluate, explain, faithfulness, probe, sanity, similarity and traits, "
            "in any mix.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page, an .html file.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.", show_default=False)] = None,
) -> None:
    """Make one page of results, to be read anywhere: it holds all it shows and needs neither server nor network.

    Tables with intervals, what the comparison changes and what controls would, curves, and the photos that convince
    most and least, which can be asked again in the page. Photos of an evaluation are explained anew, if its model and
    data are still there.
    """
    from finercam.report.document import TITLE, write_document

    if out.suffix.lower() not in (".html", ".htm"):
        raise FinercamError(f"{str(out)!r} cannot be a page: --out must end in .html")
    say(str(write_document(folders, out, TITLE if title is None else title)), stderr=False)
