"""The command ``finercam``: it puts the commands together and turns errors into one line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from finercam.cli import concept, evaluate, explain, faithfulness, lists, probe, sanity, similarity
from finercam.errors import FinercamError
from finercam.registry import IMPORT, import_extensions
from finercam.runs.memory import keep_memory

#: Entry points of packages that add commands: each leads to a function that takes the application.
GROUP = "finercam.commands"

app = typer.Typer(
    name="finercam",
    help="Why did the classifier say this class and not its look-alike?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    extensions: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a module (or a .py file) that registers methods, metrics, data formats or sources.",
        ),
    ] = None,
) -> None:
    if version:
        from finercam import __version__

        typer.echo(__version__)
        raise typer.Exit
    if extensions:
        # In the environment too: the processes of a run import what they need by themselves.
        before = filter(None, [os.environ.get(IMPORT)])
        os.environ[IMPORT] = os.pathsep.join([*before, *extensions])
        import_extensions(extensions)


for _command in (
    explain.explain,
    concept.concept,
    evaluate.evaluate,
    evaluate.table,
    probe.probe,
    similarity.similarity,
    faithfulness.faithfulness,
    sanity.sanity,
    lists.methods,
    lists.metrics,
    lists.datasets,
    lists.models,
):
    app.command()(_command)
for _point in entry_points(group=GROUP):
    _point.load()(app)


def main() -> None:
    """Run the command; an error that the user can put right is one line and exit code 2."""
    keep_memory()
    try:
        app()
    except FinercamError as error:
        print(f"finercam: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("finercam: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
