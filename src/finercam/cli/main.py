"""The command ``finercam``: it puts the commands together and turns errors into one line."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn

import typer

from finercam.cli import app as browser
from finercam.cli import (
    compare,
    concept,
    evaluate,
    explain,
    faithfulness,
    figure,
    lists,
    pair,
    paper,
    probe,
    regions,
    report,
    sanity,
    similarity,
    traits,
)
from finercam.cli.console import say
from finercam.cli.quiet import quieten
from finercam.cli.stopping import Stopped, stopping_in_order
from finercam.errors import FinercamError
from finercam.registry import IMPORT, import_extensions
from finercam.runs.memory import keep_memory
from finercam.texts import shortened

#: Entry points of packages that add commands: each leads to a function that takes the application.
GROUP = "finercam.commands"
#: What is raised for a command line that cannot be understood, in the Click that this typer brings or needs.
_Misused: type[Exception] = typer.BadParameter.__mro__[1]

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
    regions.regions,
    compare.compare,
    traits.traits,
    evaluate.evaluate,
    evaluate.table,
    probe.probe,
    similarity.similarity,
    pair.pair,
    faithfulness.faithfulness,
    sanity.sanity,
    report.report,
    browser.app,
    figure.figure,
    figure.figures,
    paper.paper,
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
    quieten(sys.argv[1:])
    # A picture too large is refused; Pillow's warning says no more, and names a line of its own.
    warnings.filterwarnings("ignore", "Image size .* could be decompression bomb")
    try:
        with stopping_in_order():
            code = app(prog_name="finercam", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except _Misused as error:
        _end_misused(error)
    except typer.Abort:
        _end("stopped", 1)
    except FinercamError as error:
        _end(str(error), 2)
    except Stopped as stop:
        _end(stop.message, int(str(stop.code)))
    except KeyboardInterrupt:
        _end("stopped", 130)
    except MemoryError:
        _end("there is not enough memory; give fewer or smaller photos, or a smaller --batch-size", 2)
    except OSError as error:
        # Whatever it is that cannot be read or written: the system's words for it and the file's name say it best.
        named = "" if error.filename is None else f"{os.fsdecode(error.filename)!r}: "
        _end(f"{named}{error.strerror or error}", 2)


def _end_misused(error: Any) -> NoReturn:
    said = error.format_message()
    if "\n" in said:
        # The help of a group that was given no command.
        error.show()
        sys.exit(error.exit_code)
    where = "finercam" if error.ctx is None else error.ctx.command_path
    said = said[:1].lower() + said[1:].removesuffix(".")
    _end(f"{said}{' See' if said.endswith('?') else '; see'} '{where} --help'", error.exit_code)


def _end(message: str, code: int) -> NoReturn:
    say(f"finercam: {shortened(message, 4000)}")
    sys.exit(code)


if __name__ == "__main__":
    main()
