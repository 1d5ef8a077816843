"""A command: a function whose arguments are the command line's, and one that adds it to the application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from finercam import FinercamError


def register(app: typer.Typer) -> None:
    """Add the command; the entry point leads here."""
    app.command()(strongest)


def strongest(
    results: Annotated[Path, typer.Argument(help="Folder that 'finercam explain' wrote.")],
    count: Annotated[int, typer.Option(min=1, help="How many photos.")] = 3,
) -> None:
    """List the photos whose maps have the highest peaks."""
    file = results / "explanations.jsonl"
    if not file.is_file():
        raise FinercamError(
            f"{str(results)!r} holds no explanations.jsonl; give a folder that 'finercam explain' wrote"
        )
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    explained = [record for record in records if "error" not in record]
    for record in sorted(explained, key=lambda record: -record["peak"])[:count]:
        typer.echo(f"{record['peak']:.4f}  {record['image']}  {record['question']}")
